"""The API's database: devices, keys, service instances. Knows nothing of HTTP."""

import time

# Kinds of keys. `api` is the key that the API itself shows to a VPN's proxy.
SERVICE, API, GUEST, USER, PROVISIONING, SESSION, DEVICE = (
    "service", "api", "guest", "user", "provisioning", "session", "device")
SUPERVISOR_PORT = 48484


class Key:
    """Who shows up with a key. name goes into the journal, the key itself never does."""

    def __init__(self, kind, name, tunnel=(), uuid=None):
        self.kind = kind
        self.name = name
        self.uuid = uuid  # of a device's key
        self.tunnel = list(tunnel)  # [{"uuid": "*" or one, "ports": ["any", 22, ...]}]

    def may_tunnel(self, uuid, actions):
        """actions: as canAccess names them, `tunnel-any`, `tunnel-22`."""
        if self.kind == API:
            return "tunnel-%d" % SUPERVISOR_PORT in actions
        if self.kind not in (USER, GUEST):
            return False
        return any("tunnel-%s" % port in actions
                   for grant in self.tunnel if grant["uuid"] in ("*", uuid)
                   for port in grant["ports"])

    def sees(self, uuid):
        """May it read the device at all?"""
        if self.kind == SERVICE:
            return True
        return self.kind == USER and any(grant["uuid"] in ("*", uuid) for grant in self.tunnel)


class Device:
    def __init__(self, number, uuid, key, api_port):
        self.id = number
        self.uuid = uuid
        self.key = key
        self.api_port = api_port
        self.connected = False
        self.online = False
        self.service_instance = None
        self.last_vpn_event = None  # Unix ms
        self.vpn_events = 0

    def event(self, connected, service_instance):
        self.connected = connected
        self.online = connected
        self.service_instance = service_instance
        self.last_vpn_event = round(time.time() * 1000, 3)
        self.vpn_events += 1

    def view(self):
        return {"id": self.id, "uuid": self.uuid, "is_connected_to_vpn": self.connected,
                "is_online": self.online,
                "is_managed_by__service_instance": self.service_instance,
                "last_vpn_event": self.last_vpn_event, "vpn_events": self.vpn_events}


class ServiceInstance:
    def __init__(self, number, address):
        self.id = number
        self.address = address
        self.heartbeats = 0
        self.last_heartbeat = None

    def beat(self):
        self.heartbeats += 1
        self.last_heartbeat = round(time.time() * 1000, 3)

    def view(self):
        return {"id": self.id, "ip_address": self.address, "heartbeats": self.heartbeats,
                "last_heartbeat": self.last_heartbeat}


class Model:
    def __init__(self):
        self.devices = {}  # by uuid
        self.by_id = {}
        self.keys = {}  # key -> Key
        self.instances = {}
        self.known_devices = set()  # (uuid, key) whose rights are in the API's cache
        self.next_device = 1
        self.next_instance = 1

    def put_key(self, key, who):
        """One key a name: giving a name another key takes the old one away."""
        self.keys = {k: w for k, w in self.keys.items() if w.name != who.name}
        self.keys[key] = who

    def drop_key(self, name):
        self.keys = {k: w for k, w in self.keys.items() if w.name != name}

    def put_device(self, uuid, key, api_port=None):
        device = self.devices.get(uuid)
        if device is None:
            device = Device(self.next_device, uuid, key, api_port)
            self.next_device += 1
            self.devices[uuid] = device
            self.by_id[device.id] = device
        else:
            self.keys.pop(device.key, None)
            device.key, device.api_port = key, api_port
        self.keys[key] = Key(DEVICE, "device:" + uuid, uuid=uuid)
        return device

    def drop_device(self, uuid):
        device = self.devices.pop(uuid, None)
        if device is not None:
            self.by_id.pop(device.id)
            self.keys.pop(device.key, None)
        return device

    def add_instance(self, address):
        instance = ServiceInstance(self.next_instance, address)
        self.next_instance += 1
        self.instances[instance.id] = instance
        return instance

    def drop_instance(self, number):
        """The row goes; a device that it managed is managed by nobody, its status stays."""
        for device in self.devices.values():
            if device.service_instance == number:
                device.service_instance = None
        return self.instances.pop(number, None)

    def report(self, connected, service_id, uuids):
        """client-connect or -disconnect. The devices that it changed, None for no such instance."""
        if connected and service_id not in self.instances:
            return None
        devices = [self.devices[u] for u in uuids if u in self.devices]
        if not connected:
            devices = [d for d in devices if d.connected and d.service_instance == service_id]
        for device in devices:
            device.event(connected, service_id if connected else None)
        return [d.uuid for d in devices]

    def managed(self, service_id):
        return [d for d in sorted(self.devices.values(), key=lambda d: d.id)
                if d.connected and d.service_instance == service_id]

    def view(self):
        return {"devices": [d.view() for d in self.devices.values()],
                "service_instances": [i.view() for i in self.instances.values()]}
