"""A Kubernetes cluster of plain processes, for tests: its programs, nodes, images and audit log."""
