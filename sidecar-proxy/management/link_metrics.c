#include "sidecar-proxy/management/link_metrics.h"

struct metric link_metric_connections = {
    .name = "vpn_management_connections_total",
    .help = "Times the management link became live.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_lost = {
    .name = "vpn_management_lost_total",
    .help = "Management connections that ended, by OpenVPN or because it was out of step.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_generations = {
    .name = "vpn_management_generations_total",
    .help = "Lives of the OpenVPN process seen.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_late = {
    .name = "vpn_management_late_answers_total",
    .help = "Answers about clients that were gone already.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_no_address = {
    .name = "vpn_management_no_address_total",
    .help = "Clients killed because OpenVPN let them in without an address.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_killed_rows = {
    .name = "vpn_management_resync_kills_total",
    .help = "Clients killed on resync because their question was lost.",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_ignored = {
    .name = "vpn_management_ignored_events_total",
    .help = "Events about clients that are not known (any more).",
    .kind = METRIC_COUNTER,
};
struct metric link_metric_clients = {
    .name = "vpn_management_clients",
    .help = "Clients of OpenVPN that the link knows, authorised or not.",
    .kind = METRIC_GAUGE,
};
struct metric link_metric_owed = {
    .name = "vpn_management_commands_waiting",
    .help = "Commands that OpenVPN has not replied to yet.",
    .kind = METRIC_GAUGE,
};
struct metric link_metric_output = {
    .name = "vpn_management_output_bytes",
    .help = "Bytes waiting to be sent to OpenVPN.",
    .kind = METRIC_GAUGE,
};

void link_metrics_register(void)
{
    static bool registered;
    struct metric *all[] = {
        &link_metric_connections, &link_metric_lost,       &link_metric_generations,
        &link_metric_late,        &link_metric_no_address, &link_metric_killed_rows,
        &link_metric_ignored,     &link_metric_clients,    &link_metric_owed,
        &link_metric_output,
    };

    for (size_t i = 0; !registered && i < ARRAY_LEN(all); i++) {
        metrics_register(all[i]);
    }
    registered = true;
}
