vpn_fuzz_target(fuzz_kube_watch fuzz_kube_watch.c LIBS vpn_kube)
