"""Machines, devices and pools for end-to-end tests and the demo: real OpenVPN in namespaces."""
