"""The Django app: `INSTALLED_APPS = [..., "channelstream_push.django"]`.

`send` publishes when the transaction is committed, `push` returns the client for everything else.
The settings are in `CHANNELSTREAM`.
"""

from .sending import push, send

__all__ = ["push", "send"]
