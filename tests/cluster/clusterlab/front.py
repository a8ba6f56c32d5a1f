"""What stands before the nodes in a real installation: one address that the devices know, balanced
over the nodes that are there. It is a rule in the LAN's namespace; tests say which nodes are well, as
a load balancer's own checks would."""


class Front:
    def __init__(self, lan, address):
        self.lan = lan
        self.address = address

    def balance(self, nodes):
        targets = ", ".join("%d : %s" % (n, node.address) for n, node in enumerate(nodes))
        self.lan.run("nft", "-f", "-", input="""
            table ip front
            delete table ip front
            table ip front {
                chain prerouting {
                    type nat hook prerouting priority dstnat;
                    ip daddr %s dnat to numgen inc mod %d map { %s }
                }
            }""" % (self.address, len(nodes), targets))
