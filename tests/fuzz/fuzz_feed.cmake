vpn_fuzz_target(fuzz_feed fuzz_feed.c LIBS state)
