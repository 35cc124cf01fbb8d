#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/catalogue/curl_library.h"
#include "engine/catalogue/fetch.h"

#define ATTEMPTS 5
#define CONNECT_SECONDS 5L
#define SLOW_BYTES 1024L
#define SLOW_SECONDS 30L

struct transfer {
    struct kg_fetch *fetch;
    const struct kg_curl *library;
    CURL *curl;
    uint64_t at; /* where the next byte belongs */
    bool began, stopped;
    enum kg_status status; /* of writing */
    struct kg_error cause;
};

static size_t receive(char *bytes, size_t one, size_t length, void *ctx)
{
    struct transfer *transfer = ctx;
    uint64_t expected = transfer->fetch->entry->bytes - transfer->at;
    curl_off_t announced = -1;
    (void)one;
    transfer->library->easy_getinfo(transfer->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (!transfer->began && announced >= 0 && (uint64_t)announced != expected) {
        transfer->status = kg_fail(&transfer->cause, KG_ERR_CORRUPT, "it offers %" PRId64 " bytes where %" PRIu64 " are missing", (int64_t)announced, expected);
        return 0;
    }
    transfer->began = true;
    transfer->status = kg_partial_write(transfer->fetch->partial, transfer->at, bytes, length, &transfer->cause);
    if (transfer->status != KG_OK)
        return 0;
    transfer->at += length;
    return length;
}

static int watch(void *ctx, curl_off_t total, curl_off_t now, curl_off_t upload_total, curl_off_t upload_now)
{
    struct transfer *transfer = ctx;
    (void)total, (void)now, (void)upload_total, (void)upload_now;
    transfer->stopped = kg_fetch_report(transfer->fetch, transfer->at, false) != 0;
    return transfer->stopped;
}

static void set_up(struct transfer *transfer, char error[CURL_ERROR_SIZE])
{
    CURL *curl = transfer->curl;
    __typeof__(curl_easy_setopt) *set = transfer->library->easy_setopt;
    const char *schemes = transfer->fetch->plain_loopback ? "https,http" : "https";
    set(curl, CURLOPT_URL, transfer->fetch->source->url);
    set(curl, CURLOPT_PROTOCOLS_STR, schemes);
    set(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    set(curl, CURLOPT_FOLLOWLOCATION, 1L);
    set(curl, CURLOPT_MAXREDIRS, 5L);
    set(curl, CURLOPT_FAILONERROR, 1L);
    set(curl, CURLOPT_NOSIGNAL, 1L);
    set(curl, CURLOPT_USERAGENT, "kedge/" KG_VERSION);
    set(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    set(curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    set(curl, CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
    set(curl, CURLOPT_BUFFERSIZE, 262144L);
    set(curl, CURLOPT_ERRORBUFFER, error);
    set(curl, CURLOPT_WRITEFUNCTION, receive);
    set(curl, CURLOPT_WRITEDATA, transfer);
    set(curl, CURLOPT_NOPROGRESS, 0L);
    set(curl, CURLOPT_XFERINFOFUNCTION, watch);
    set(curl, CURLOPT_XFERINFODATA, transfer);
    set(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)transfer->at);
}

/* One request from transfer->at on. *refused_range: the server gives the file from its start only. */
static enum kg_status request(struct transfer *transfer, bool *refused_range, struct kg_error *err)
{
    char error[CURL_ERROR_SIZE] = "";
    transfer->curl = transfer->library->easy_init();
    if (!transfer->curl)
        return kg_fail_nomem(err, "preparing a download");
    transfer->began = transfer->stopped = false;
    transfer->status = KG_OK;
    set_up(transfer, error);
    CURLcode code = transfer->library->easy_perform(transfer->curl);
    transfer->library->easy_cleanup(transfer->curl);
    *refused_range = code == CURLE_RANGE_ERROR;
    if (transfer->stopped)
        return kg_fail(err, KG_ERR_CANCELLED, "stopped while fetching %s; what has come is kept", transfer->fetch->entry->name);
    if (transfer->status != KG_OK)
        return kg_fail(err, transfer->status, "%s", transfer->cause.text);
    if (code != CURLE_OK)
        return kg_fail(err, KG_ERR_NETWORK, "%s", error[0] ? error : transfer->library->easy_strerror(code));
    if (transfer->at != transfer->fetch->entry->bytes)
        return kg_fail(err, KG_ERR_NETWORK, "the connection ended early");
    return KG_OK;
}

enum kg_status kg_fetch_https(struct kg_fetch *fetch, struct kg_error *err)
{
    struct transfer transfer = { .fetch = fetch, .at = kg_partial_length(fetch->partial) };
    enum kg_status status = kg_curl_load(&transfer.library, err);
    if (status != KG_OK)
        return status;
    fetch->part = 1;
    /* A line that breaks is taken up again as long as each attempt brings something. */
    for (int attempt = 0; attempt < ATTEMPTS && transfer.at < fetch->entry->bytes; attempt++) {
        uint64_t before = transfer.at;
        bool refused_range = false;
        status = request(&transfer, &refused_range, err);
        if (refused_range && before > 0) {
            transfer.at = 0;
            continue;
        }
        if (status != KG_ERR_NETWORK || transfer.at == before)
            break;
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    }
    return status;
}
