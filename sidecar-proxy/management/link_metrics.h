/* link_metrics: what the link counts. One link a process. */
#pragma once

#include "common/metrics.h"

extern struct metric link_metric_connections; /* times it became live */
extern struct metric link_metric_lost;
extern struct metric link_metric_generations;
extern struct metric link_metric_late;
extern struct metric link_metric_no_address;
extern struct metric link_metric_killed_rows;
extern struct metric link_metric_ignored;
extern struct metric link_metric_clients;
extern struct metric link_metric_owed;
extern struct metric link_metric_output;

void link_metrics_register(void); /* once counts, more often does no harm */
