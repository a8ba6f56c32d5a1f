"""The OData queries that VPN services send, matched exactly.

A query that is not one of them raises Unknown, which is answered 400: a caller that gets a query
wrong must not mistake our ignorance for an empty result.
"""

import re


class Unknown(Exception):
    pass


_FILTER_MANAGED = re.compile(
    r"is_managed_by__service_instance eq ([0-9]{1,15}) and is_connected_to_vpn")
_FILTER_MANAGES = re.compile(
    r"manages__device/any\(d:\(d/uuid eq '((?:[^']|'')*)'\) and \(d/is_connected_to_vpn\)\)")
_ORDER = re.compile(r"(id|uuid)(?: (asc|desc))?")


def unquote(text):
    """An OData string: in single quotes, a quote inside is doubled."""
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise Unknown("not a quoted string")
    inner = text[1:-1]
    if "'" in inner.replace("''", ""):
        raise Unknown("undoubled quote")
    return inner.replace("''", "'")


def number(text):
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise Unknown("not a number")
    return int(text)


def _pick(parameters, required, optional=()):
    """parameters as a dict, if exactly those names are there, each once."""
    found = dict(parameters)
    names = set(found)
    if len(found) != len(parameters) or not set(required) <= names:
        raise Unknown("parameters")
    if names - set(required) - set(optional):
        raise Unknown("unknown parameter")
    return found


def _match(pattern, text):
    match = pattern.fullmatch(text)
    if match is None:
        raise Unknown("unknown $filter")
    return match.group(1)


def _want(found, name, value):
    if found[name] != value:
        raise Unknown("unknown %s" % name)


def can_access(parameters, action):
    """-> uuid, the actions of which one suffices."""
    uuid = unquote(_pick(parameters, ["@uuid"])["@uuid"])
    either = action.get("or") if isinstance(action, dict) and set(action) == {"or"} else None
    if (not isinstance(either, list) or len(either) != 2 or either[0] != "tunnel-any"
            or not isinstance(either[1], str) or not re.fullmatch(r"tunnel-[0-9]{1,5}", either[1])):
        raise Unknown("unknown action")
    return uuid, either


def is_connected(parameters):
    """-> the device's id."""
    found = _pick(parameters, ["$select", "$filter", "@id"])
    _want(found, "$select", "id")
    _want(found, "$filter", "is_connected_to_vpn")
    return number(found["@id"])


def find_host(parameters):
    """-> uuid."""
    found = _pick(parameters, ["$select", "$filter"])
    _want(found, "$select", "id,ip_address")
    return _match(_FILTER_MANAGES, found["$filter"]).replace("''", "'")


def managed_by(parameters):
    """-> uuid. The address of the service instance may not be asked for here."""
    found = _pick(parameters, ["$select", "@uuid"], ["$expand"])
    if "$expand" in found:
        raise PermissionError
    _want(found, "$select", "is_managed_by__service_instance")
    return unquote(found["@uuid"])


class Listing:
    """GET /v7/device?$select=uuid&$filter=... and /v7/device/$count?$filter=..."""

    def __init__(self, parameters, count):
        optional = [] if count else ["$orderby", "$top", "$skip"]
        required = ["$filter"] if count else ["$select", "$filter"]
        found = _pick(parameters, required, optional)
        if not count:
            _want(found, "$select", "uuid")
        self.service_id = int(_match(_FILTER_MANAGED, found["$filter"]))
        order = _ORDER.fullmatch(found.get("$orderby", "id"))
        if order is None:
            raise Unknown("unknown $orderby")
        self.order_by, self.descending = order.group(1), order.group(2) == "desc"
        self.skip = number(found.get("$skip", "0"))
        self.top = number(found["$top"]) if "$top" in found else None

    def cut(self, devices):
        devices = sorted(devices, key=lambda d: getattr(d, self.order_by), reverse=self.descending)
        end = None if self.top is None else self.skip + self.top
        return devices[self.skip:end]
