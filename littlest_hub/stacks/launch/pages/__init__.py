"""The pages of the launch stack, at /services/launch/: a service without rights and scripts.

| path | page |
|---|---|
| "" | the form; once it is filled in, what would be launched, and a button (`entrance`) |
| launch | where the button leads (`launching`) |
| launching/NAME | the log of the build, and then the server (`launching`) |
| links | what people paste into their pages (`sharing`) |
| gallery, gallery/publish, gallery/decide | what people have published (`shelf`) |
| servers | the person's launched servers, who may use them, and those of others (`servers`) |
| servers/remove, servers/delete | take access from somebody; delete a server (`servers`) |
| volumes, volumes/make, volumes/delete | volumes of the person's groups (`group_volumes`) |
| badge.svg | the picture of a button, without a login (`sharing`) |
| launch.css | what the hub's style sheet lacks (`sharing`) |

`binder` is a page of the hub's.
"""

VARIABLES = {
    "resolver": "LITTLEST_HUB_LAUNCH_RESOLVER",
    "sources": "LITTLEST_HUB_LAUNCH_SOURCES",
    "starter": "LITTLEST_HUB_LAUNCH_STARTER",
    "logs": "LITTLEST_HUB_LAUNCH_LOGS",
    "results": "LITTLEST_HUB_LAUNCH_RESULTS",
}
"""Variables of the unit, by what of the surroundings they name: paths that are bound into the
service's view of the file system."""
