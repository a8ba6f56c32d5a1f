"""Throwaway certificates for the cluster's own connections, and kubeconfig files."""

import base64
import pathlib
import subprocess

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
_EXTENSIONS = ("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
               "extendedKeyUsage=serverAuth,clientAuth\n")

_KUBECONFIG = """apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: {server}
    certificate-authority-data: {ca}
contexts:
- name: test
  context:
    cluster: test
    user: {user}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"""


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Authority:
    """ca.crt and ca.key in folder, which is made; issues NAME.crt and NAME.key beside them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca.crt"
        if not self.ca.exists():
            self.folder.mkdir(parents=True, mode=0o700)
            _openssl("req", "-x509", *_KEY, "-keyout", self.folder / "ca.key", "-out", self.ca,
                     "-days", "30", "-subj", "/CN=throwaway cluster CA")

    def issue(self, name, common_name, organization=None, alt_names=()):
        """-> (certificate, key)"""
        subject = ("/O=" + organization if organization else "") + "/CN=" + common_name
        certificate, key = (self.folder / (name + end) for end in (".crt", ".key"))
        request, extensions = (self.folder / (name + end) for end in (".csr", ".ext"))
        names = "subjectAltName=%s\n" % ",".join(alt_names) if alt_names else ""
        extensions.write_text(_EXTENSIONS + names)
        _openssl("req", *_KEY, "-keyout", key, "-out", request, "-subj", subject)
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key",
                 "-CAcreateserial", "-out", certificate, "-days", "30", "-extfile", extensions)
        request.unlink()
        extensions.unlink()
        return certificate, key

    def key_pair(self, name):
        """-> (private key, public key), for the tokens of service accounts"""
        private, public = self.folder / (name + ".key"), self.folder / (name + ".pub")
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out",
                 private)
        _openssl("pkey", "-in", private, "-pubout", "-out", public)
        return private, public

    def kubeconfig(self, file, server, name, common_name, organization=None):
        """Writes file for a user of that name. -> file"""
        certificate, key = self.issue(name, common_name, organization)
        coded = [base64.b64encode(f.read_bytes()).decode() for f in (self.ca, certificate, key)]
        file = pathlib.Path(file)
        file.touch(mode=0o600)
        file.write_text(_KUBECONFIG.format(server=server, user=name, ca=coded[0],
                                           certificate=coded[1], key=coded[2]))
        return file
