vpn_fuzz_target(fuzz_kubeconfig fuzz_kubeconfig.c LIBS vpn_kube)
