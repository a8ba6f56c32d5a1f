"""What an instance's addresses should be, computed independently of the code under test."""

import ipaddress


class Block:
    def __init__(self, index, base="100.64.0.0/10", prefix=20):
        size = 1 << (32 - prefix)
        first = int(ipaddress.ip_network(base).network_address) + (index - 1) * size
        self.network = ipaddress.ip_network((first, prefix))
        self.gateway, self.peer, self.first = (str(self.network[n]) for n in (1, 2, 3))

    def offset(self, address):
        """Which address of the block: 1 is the gateway, 3 the first device's."""
        assert ipaddress.ip_address(address) in self.network, "%s not in %s" % (
            address, self.network)
        return int(ipaddress.ip_address(address)) - int(self.network.network_address)
