/* kubernetes_run: the controller's process: connections, lease, driver, health; from its start to
 * its end. Decides nothing about pools. */
#pragma once

struct kubernetes_settings { /* owned texts */
    char *ns;                /* NULL: as the credentials say */
    char *kubeconfig, *context;
    char *listen, *lease, *identity;
    char *service_key, *previous_key;
    char *log_format, *log_level;
};

/* 0: ended in order. 1: a failure, or the lease was lost: a new process begins with nothing
 * believed. 2: the settings are wrong. */
int kubernetes_run(const struct kubernetes_settings *settings);
