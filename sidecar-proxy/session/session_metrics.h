/* session_metrics: what an operator sees of a sidecar. The names without "sidecar" in them are
 * those that operators of the original service know. */
#pragma once

#include "common/metrics.h"
#include "sidecar-proxy/session/sessions.h"

enum auth_source { AUTH_CACHE, AUTH_API, AUTH_GRACE, AUTH_STATE, AUTH_LOCAL, AUTH_SOURCES };
enum auth_result { AUTH_ALLOWED, AUTH_REFUSED, AUTH_LATER, AUTH_KEPT, AUTH_RESULTS };
enum report_result { REPORT_OK, REPORT_GONE, REPORT_UNKNOWN, REPORT_RESULTS };

struct session_metrics {
    struct metric duration; /* vpn_session_duration */
    struct metric rx_bitrate, tx_bitrate;
    struct metric rx_bytes, tx_bytes;
    struct metric online, devices;
    struct metric auth_failures;
    struct metric auth_seconds[AUTH_SOURCES];
    struct metric auth_results[AUTH_RESULTS];
    struct metric auth_in_flight, auth_waiting, auth_late, auth_known;
    struct metric ignored; /* events about sessions that ended or do not fit */
    struct metric reports[REPORT_RESULTS];
    struct metric unreported, report_lag;
    struct metric differences; /* found by comparing with the API */
    struct metric feeds_live, feed_messages, feed_restarts, feed_stale;
    struct metric drain_kills;
};
extern struct session_metrics session_metrics;

/* Registers all and follows the table for what it tells. Once. */
void session_metrics_open(struct sessions *sessions);
void session_metrics_close(struct sessions *sessions);
