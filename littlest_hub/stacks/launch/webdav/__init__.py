"""A person's own folder at a WebDAV server, such as a Nextcloud, in a server that they launch.

A launch has at most one, and only to read. The person types name and password at each launch
(`pages`); the hub keeps them in memory until the server starts (`kept`, `api`), and writes an order
for the unit that mounts the folder (`order`, `units`). In that unit, root mounts (`mounting`), and
a program without rights and without a network has rclone serve the mount (`program`). Its only way
out is a proxy in a unit of its own, which lets it reach the server of the folder (`carrier`).
"""
