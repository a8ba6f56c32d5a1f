/* instance_priv: what the files of instance share. */
#pragma once

#include "controller/pool/instance.h"
#include "controller/pool/local_output.h"
#include "controller/pool/openvpn_args.h"

#define OPENVPN_GRACE_MS 3000  /* it disconnects its clients in a tenth of a second */
#define SIDECAR_GRACE_MS 11500 /* it reports for up to 10 s */

struct instance {
    const struct instance_host *host;
    struct local_instance record;
    struct keeper *openvpn, *sidecar;
    struct local_output *output; /* of OpenVPN; NULL: there could be no pipe, it prints to ours */
    struct sidecar_client *client;
    struct openvpn_args openvpn_args; /* during a start only */
    struct args sidecar_args;         /* during a start only */
    bool openvpn_tried;               /* a start was asked for and has not come about yet */
    int64_t link_down_ms;             /* since when OpenVPN can not be reached, 0: it can */
    int64_t ready_ms;                 /* since when it is ready, 0: it is not */
    uint32_t sidecar_failures;        /* ends in a row that nobody asked for */
    bool sidecar_asked;               /* this end was asked for: new settings */
    int64_t sidecar_not_before_ms;
    char unsaved[ERR_TEXT_MAX]; /* why its service instance is not on disk; "": it is */
};

/* Its two programs, idle, with what is to happen when they start and end. */
void instance_programs_open(struct instance *i);
/* What OpenVPN prints is read; for one that runs already. */
void instance_output_open(struct instance *i);

void instance_save(struct instance *i);
/* Are its programs to run? */
bool instance_may_live(const struct instance *i);
bool instance_is_ready(const struct instance *i);
