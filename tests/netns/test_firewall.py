"""The firewall table: put back when somebody changes it, left alone when nobody does."""

import re

from lab.wait import holds, wait_until

NOTICED = "somebody changed or removed the firewall table"


def table(lab):
    """Its rules, with their handles: other ones once it was loaded anew."""
    return lab.machine.run("nft", "-s", "-a", "list", "table", "inet", "openvpn-fleet",
                           check=False).stdout


def handle(lab):
    """The kernel's number for the table: grows with each time that it is loaded."""
    return int(re.search(r"^table .*# handle (\d+)", table(lab))[1])


def test_table_is_put_back_and_otherwise_left_alone(lab):
    device = lab.device().wait_online()
    lab.wait_agreed()
    loaded = handle(lab)
    holds(lambda: handle(lab) == loaded and NOTICED not in lab.pool.log(), 12, "it is left alone")

    for count, change in enumerate(("delete table inet openvpn-fleet",
                                    "flush chain inet openvpn-fleet input",
                                    "flush set inet openvpn-fleet tuns"), 1):
        whole = re.sub(r" # handle \d+", "", table(lab))
        lab.machine.run("nft", change)
        wait_until(lambda: lab.pool.log().count(NOTICED) == count, 20, "noticed: " + change)
        wait_until(lambda: re.sub(r" # handle \d+", "", table(lab)) == whole, 20,
                   "put back: " + change)
    assert device.connections == 1 and lab.reaches(device)
