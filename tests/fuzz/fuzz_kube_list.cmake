vpn_fuzz_target(fuzz_kube_list fuzz_kube_list.c LIBS vpn_kube)
