"""The rules: problems that show only when settings are compared with each other or the machine.

A rule is a function that takes all settings and yields problems. Its name states the problem in
plain words; if the rule raises an exception, a warning contains that name. To add a rule, write it
in the module of its topic and list it in RULES below, the only place where rules are registered. In
tests/broken.py, add a fragment that the rule refuses. One check is no rule:
`littlest_hub.check.checker` looks up the domains of certificates, outside of the sandbox's limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.rules import (
    addresses,
    files,
    https,
    pam,
    people,
    placeholders,
    proxy,
    services,
    spawners,
)
from littlest_hub.check.settings import Settings

Rule = Callable[[Settings], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    people.no_one_may_log_in,
    people.administrators_who_may_not_log_in,
    people.unknown_encoding,
    people.user_names_that_the_pattern_rejects,
    people.string_used_as_a_set_of_names,
    people.users_without_a_system_account,
    people.accounts_that_no_password_opens,
    people.unknown_system_groups,
    pam.unknown_pam_service,
    pam.pam_modules_that_cannot_work,
    people.pam_without_normalized_names,
    people.accounts_created_by_a_command,
    people.auth_state_without_a_key,
    people.groups_or_roles_from_two_sources,
    addresses.ports_out_of_range,
    addresses.invalid_urls,
    addresses.ports_of_other_programs,
    addresses.addresses_that_the_socket_overrides,
    addresses.base_url_that_is_not_a_path,
    addresses.public_url_with_another_path,
    addresses.every_address_trusted_as_proxy,
    addresses.ports_used_twice,
    addresses.addresses_of_other_machines,
    addresses.hub_address_that_cannot_be_had,
    addresses.hub_that_servers_would_not_find,
    proxy.settings_that_the_proxys_units_decide,
    proxy.internal_ssl,
    proxy.too_little_time_for_routes,
    files.unreadable_files,
    files.certificate_without_its_key,
    files.unusable_cookie_secret,
    files.unusable_database,
    files.unwritable_files,
    services.conflicting_services,
    services.conflicting_roles,
    services.malformed_groups,
    services.unknown_scopes,
    services.services_that_cannot_start,
    spawners.environment_values_that_are_not_text,
    spawners.guarantees_above_limits,
    spawners.memory_limit_too_small,
    spawners.missing_programs,
    spawners.settings_that_need_root,
    spawners.unusable_root_hooks,
    spawners.commands_as_other_users,
    spawners.default_url_without_a_slash,
    spawners.working_directory_with_a_tilde,
    spawners.shared_account_that_does_not_exist,
    spawners.overrides_that_cannot_be_applied,
    placeholders.misspelled_placeholders,
    placeholders.unknown_placeholders,
    https.two_sources_of_certificates,
    https.domains_that_cannot_be_certified,
    https.challenge_that_cannot_succeed,
    https.unusable_certificate_authority,
    https.expired_certificate,
    https.https_port_of_another_program,
)
