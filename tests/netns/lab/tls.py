"""Throwaway certificates: an authority and a server, ECDSA, good for a month."""

import pathlib

from lab.netns import run

_SERVER = ("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
           "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")


def make(folder):
    """ca.crt, server.crt, server.key in folder, which is made. -> folder"""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    extensions = folder / "server.ext"
    extensions.write_text(_SERVER)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *new_key, "-keyout", folder / "ca.key", "-out",
        folder / "ca.crt", "-days", "30", "-subj", "/CN=throwaway VPN CA", "-addext",
        "keyUsage=critical,keyCertSign,cRLSign")
    run("openssl", "req", *new_key, "-keyout", folder / "server.key", "-out",
        folder / "server.csr", "-subj", "/CN=vpn.example")
    run("openssl", "x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.crt",
        "-CAkey", folder / "ca.key", "-CAcreateserial", "-out", folder / "server.crt", "-days",
        "30", "-extfile", extensions)
    for leftover in ("ca.key", "ca.srl", "server.csr", "server.ext"):
        (folder / leftover).unlink(missing_ok=True)
    return folder
