"""Resources that servers use, from the text of systemd and the kernel."""

from littlest_hub.stacks.classroom.page.usage import Memory, Usage, between, parse, parse_memory

SHOWN = """Id=littlest-hub.user-alice.service
MemoryCurrent=312000000
MemoryMax=2000000000
CPUUsageNSec=5000000000

Id=littlest-hub.user-bob.service
MemoryCurrent=[not set]
MemoryMax=infinity
CPUUsageNSec=18446744073709551615
"""
ALICE, BOB = "littlest-hub.user-alice.service", "littlest-hub.user-bob.service"


def test_what_systemd_does_not_know_is_not_shown_as_a_number() -> None:
    assert parse(SHOWN) == {ALICE: Usage(312_000_000, 2_000_000_000, 5_000_000_000), BOB: Usage()}
    assert parse("") == {}


def test_processors_are_those_kept_busy_between_two_looks() -> None:
    before = {ALICE: Usage(1, None, 5_000_000_000), BOB: Usage(1, None, 9_000_000_000)}
    after = {
        ALICE: Usage(2, None, 6_500_000_000),
        BOB: Usage(2, None, 1_000_000),
        "new": Usage(3, None, 1),
    }
    found = between(before, after, 2)
    assert found[ALICE] == Usage(2, None, 6_500_000_000, 0.75)
    assert found[BOB].processors == 0, "it was started again"
    assert found["new"].processors is None
    assert between(before, after, 0)[ALICE].processors is None


def test_memory_that_is_left_is_what_the_kernel_says_programs_may_get() -> None:
    meminfo = "MemTotal:        4000 kB\nMemFree:          100 kB\nMemAvailable:    1000 kB\n"
    assert parse_memory(meminfo) == Memory(4_096_000, 1_024_000)
    assert parse_memory("MemTotal: 4000 kB\n") is None
