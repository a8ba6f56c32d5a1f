/* What an instance is like: for the planner and for people. */
#include "controller/pool/instance_priv.h"

#include <stdio.h>
#include <string.h>

#define SIDECAR_SILENT_MS 10000 /* a sidecar that says nothing for so long hangs */
#define LINK_DOWN_MS 30000      /* and so does an OpenVPN that its sidecar can not reach */

bool instance_may_live(const struct instance *i)
{
    return i->record.phase == INDEX_STARTING || i->record.phase == INDEX_READY;
}

/* An answer of another epoch's sidecar, one that is just ending, says nothing about this one. */
const struct sidecar_status *instance_status(const struct instance *i)
{
    const struct sidecar_status *s = sidecar_client_status(i->client);

    return s != NULL && keeper_state(i->sidecar) == KEEPER_RUNNING &&
                   strcmp(s->epoch, i->record.epoch) == 0
               ? s
               : NULL;
}

bool instance_sidecar_answers(const struct instance *i)
{
    return instance_status(i) != NULL &&
           sidecar_client_silent_ms(i->client) < SIDECAR_SILENT_MS / 2;
}

static enum observed_process observe_openvpn(const struct instance *i, int64_t now_ms)
{
    if (keeper_state(i->openvpn) == KEEPER_IDLE) {
        return PROCESS_ABSENT;
    }
    bool unreachable = instance_sidecar_answers(i) && i->link_down_ms != 0 &&
                       now_ms - i->link_down_ms > LINK_DOWN_MS;
    return unreachable ? PROCESS_HUNG : PROCESS_RUNNING;
}

static enum observed_process observe_sidecar(const struct instance *i)
{
    if (keeper_state(i->sidecar) == KEEPER_IDLE) {
        return PROCESS_ABSENT;
    }
    return sidecar_client_silent_ms(i->client) > SIDECAR_SILENT_MS ? PROCESS_HUNG : PROCESS_RUNNING;
}

bool instance_is_ready(const struct instance *i)
{
    const struct sidecar_status *s = instance_status(i);

    return s != NULL && instance_sidecar_answers(i) && s->phase == SIDECAR_READY &&
           s->link == SIDECAR_LINK_LIVE && keeper_state(i->openvpn) == KEEPER_RUNNING;
}

void instance_observe(const struct instance *i, int64_t now_ms, const char *current_revision,
                      struct observed_index *ret)
{
    const struct sidecar_status *s = instance_status(i);
    const struct local_instance *r = &i->record;

    *ret = (struct observed_index){
        .index = r->index,
        .phase = r->phase,
        .phase_since_ms = r->phase_since_ms,
        .openvpn = observe_openvpn(i, now_ms),
        .sidecar = observe_sidecar(i),
        .ready = instance_is_ready(i),
        .drained = s != NULL && s->phase == SIDECAR_DRAINED,
        .current = r->revision[0] == '\0' || strcmp(r->revision, current_revision) == 0,
        .buried = !burials_pending(i->host->burials, r->index, r->epoch),
        .sessions = s != NULL ? s->sessions : 0,
        .counted = s != NULL,
        .failures = r->failures,
        .not_before_ms = r->not_before_ms,
        .leaving_for_good = r->phase >= INDEX_DRAINING,
        .linked = s != NULL && s->link == SIDECAR_LINK_LIVE,
        .sidecar_not_before_ms = i->sidecar_not_before_ms,
    };
}

/* --- for people --- */

/* Of one that is not ready and whose programs did not end. */
static const char *unready_why(const struct instance *i)
{
    const struct sidecar_status *s = instance_status(i);

    if (keeper_state(i->openvpn) == KEEPER_IDLE) {
        return "OpenVPN is not started yet";
    }
    if (keeper_state(i->sidecar) != KEEPER_RUNNING) {
        return "vpn-sidecar is not started yet";
    }
    if (s == NULL || !instance_sidecar_answers(i)) {
        return s == NULL ? "vpn-sidecar has not answered yet" : "vpn-sidecar does not answer";
    }
    if (s->link == SIDECAR_LINK_LIVE) {
        return "vpn-sidecar is not ready yet";
    }
    return s->link == SIDECAR_LINK_RESYNC ? "vpn-sidecar asks OpenVPN for its clients"
                                          : "OpenVPN does not answer vpn-sidecar";
}

void instance_why(const struct instance *i, char ret[ERR_TEXT_MAX])
{
    const char *openvpn = keeper_last_end(i->openvpn), *sidecar = keeper_last_end(i->sidecar);

    ret[0] = '\0';
    if (!instance_may_live(i) || instance_is_ready(i)) {
        return;
    }
    if (keeper_state(i->openvpn) == KEEPER_IDLE && openvpn[0] != '\0') {
        snprintf(ret, ERR_TEXT_MAX, "OpenVPN: %.480s", openvpn);
    } else if (keeper_state(i->sidecar) == KEEPER_IDLE && sidecar[0] != '\0') {
        snprintf(ret, ERR_TEXT_MAX, "vpn-sidecar: %.480s", sidecar);
    } else {
        snprintf(ret, ERR_TEXT_MAX, "%s", unready_why(i));
    }
}

const char *instance_unsaved(const struct instance *i)
{
    return i->unsaved;
}
