/* The table of options, and what it says about a value. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tui/config/table.h"

#define TEXT_MOST 4000 /* bytes */

static const struct kg_option_row rows[KG_OPTION_COUNT] = {
    [KG_OPTION_MODEL] = { .section = "", .name = "model", .kind = KG_OPTION_TEXT, .standard = "",
                          .help = "A name that `kedge model ls` lists, or a .gguf file; empty = $KEDGE_MODEL, else the catalogue's default." },
    [KG_OPTION_THREADS] = { .section = "", .name = "threads", .kind = KG_OPTION_NUMBER, .standard = "0", .most = 1024,
                            .help = "Threads that compute; 0 = as many as the process may use." },
    [KG_OPTION_DEVICE] = { .section = "", .name = "device", .kind = KG_OPTION_CHOICE, .standard = "best", .choices = "best cpu cuda cuda:N ref",
                           .help = "What computes; best = a CUDA card that holds the model or some of its layers, else the CPU; cuda:N = the card of that number; "
                                   "ref is plain double precision, and slow." },
    [KG_OPTION_GPU_LAYERS] = { .section = "", .name = "gpu-layers", .kind = KG_OPTION_CHOICE, .standard = "auto", .choices = "auto N",
                               .help = "Of a card: how many of the model's last layers it computes; auto = as many as fit. The CPU computes the others." },
    [KG_OPTION_POLICY] = { .section = "", .name = "policy", .kind = KG_OPTION_CHOICE, .standard = "recall", .choices = "recall alone full anchor",
                           .help = "How files are read and looked at: recall = in sight of what they include, and looked at where it matters; "
                                   "alone = one by one; full = everything as one text; anchor = line ends stay, for models trained so." },
    [KG_OPTION_READ_BUDGET] = { .section = "read", .name = "budget", .kind = KG_OPTION_NUMBER, .standard = "0", .most = 1 << 24, .repository = true,
                                .help = "Tokens of files that are chosen for a question, at most; 0 = what this machine reads in about ten seconds." },
    [KG_OPTION_READ_AHEAD] = { .section = "read", .name = "ahead", .kind = KG_OPTION_CHOICE, .standard = "on", .choices = "on off always",
                               .help = "Read files that are likely to be asked about while nothing is asked; on = not on battery." },
    [KG_OPTION_READ_AGAIN] = { .section = "read", .name = "again", .kind = KG_OPTION_SWITCH, .standard = "yes",
                               .help = "When files may be read ahead: read those in context once more, each in sight of all before it." },
    [KG_OPTION_READ_IGNORE] = { .section = "read", .name = "ignore", .kind = KG_OPTION_TEXT, .standard = "", .repository = true,
                                .help = "Files that are neither listed nor chosen, tracked or not: patterns as in gitignore(5), set apart by spaces." },
    [KG_OPTION_READ_INSTRUCTIONS] = { .section = "read", .name = "instructions", .kind = KG_OPTION_SWITCH, .standard = "yes",
                                      .help = "A conversation begins with the repository's AGENTS.md, or else its CONVENTIONS.md." },
    [KG_OPTION_RECALL_WINDOW] = { .section = "recall", .name = "window", .kind = KG_OPTION_NUMBER, .standard = "64", .least = 64, .most = 8192,
                                  .help = "The last so many tokens are always looked at." },
    [KG_OPTION_RECALL_K] = { .section = "recall", .name = "k", .kind = KG_OPTION_NUMBER, .standard = "576", .least = 1, .most = 4096,
                             .help = "So many of the tokens before them are looked at as well, those that fit best." },
    [KG_OPTION_RECALL_BITS] = { .section = "recall", .name = "bits", .kind = KG_OPTION_CHOICE, .standard = "2", .choices = "1 2 4",
                                .help = "Bits of a number in the index that finds them." },
    [KG_OPTION_CACHE_BUDGET] = { .section = "cache", .name = "budget", .kind = KG_OPTION_BYTES, .standard = "0", .most = (uint64_t)1 << 50,
                                 .help = "Bytes that what was read may take on disk; 0 = 8 GiB or a tenth of the free disk, the smaller." },
    [KG_OPTION_CACHE_OFF] = { .section = "cache", .name = "off", .kind = KG_OPTION_SWITCH, .standard = "no",
                              .help = "Neither use nor fill the cache of what was read." },
    [KG_OPTION_CACHE_KV] = { .section = "cache", .name = "kv", .kind = KG_OPTION_CHOICE, .standard = "f16", .choices = "f16 q8_0",
                             .help = "What keys and values are kept as, in memory and on disk; q8_0 takes about half the bytes, and runs on the CPU only." },
    [KG_OPTION_MAX_TOKENS] = { .section = "generate", .name = "max-tokens", .kind = KG_OPTION_NUMBER, .standard = "0", .most = 1 << 24,
                               .help = "Tokens of an answer, at most; 0 = as many as fit." },
    [KG_OPTION_TEMPERATURE] = { .section = "generate", .name = "temperature", .kind = KG_OPTION_REAL, .standard = "0.7", .high = 100,
                                .help = "0 = the likeliest token every time; larger = more varied." },
    [KG_OPTION_TOP_K] = { .section = "generate", .name = "top-k", .kind = KG_OPTION_NUMBER, .standard = "20", .most = 1 << 24,
                          .help = "Draw among the so many likeliest tokens; 0 = all." },
    [KG_OPTION_TOP_P] = { .section = "generate", .name = "top-p", .kind = KG_OPTION_REAL, .standard = "0.8", .low = 0.0001, .high = 1,
                          .help = "Draw among the likeliest tokens that make up this share; 1 = all." },
    [KG_OPTION_MIN_P] = { .section = "generate", .name = "min-p", .kind = KG_OPTION_REAL, .standard = "0", .high = 0.9999,
                          .help = "Leave out tokens less likely than this share of the likeliest." },
    [KG_OPTION_PENALTY] = { .section = "generate", .name = "penalty", .kind = KG_OPTION_REAL, .standard = "1.05", .low = 1, .high = 10,
                            .help = "Against repetition; 1 = none." },
    [KG_OPTION_PENALTY_LAST] = { .section = "generate", .name = "penalty-last", .kind = KG_OPTION_NUMBER, .standard = "64", .most = 1 << 20,
                                 .help = "Tokens that count as repeated." },
    [KG_OPTION_SEED] = { .section = "generate", .name = "seed", .kind = KG_OPTION_NUMBER, .standard = "0", .most = UINT64_MAX,
                         .help = "The same seed draws the same answer; 0 = from the clock." },
    [KG_OPTION_DRAFTS] = { .section = "generate", .name = "drafts", .kind = KG_OPTION_SWITCH, .standard = "yes",
                           .help = "Guess several tokens at once where the text repeats what stands before it: the same answer, sooner." },
    [KG_OPTION_COMPLETE_MODEL] = { .section = "complete", .name = "model", .kind = KG_OPTION_TEXT, .standard = "",
                                   .help = "What completes at the cursor, a small one; empty = q05 where it was fetched, else the model above." },
    [KG_OPTION_COMPLETE_TOKENS] = { .section = "complete", .name = "max-tokens", .kind = KG_OPTION_NUMBER, .standard = "64", .least = 1, .most = 1024,
                                    .help = "Tokens of a completion, at most." },
    [KG_OPTION_COMPLETE_PAUSE] = { .section = "complete", .name = "pause", .kind = KG_OPTION_NUMBER, .standard = "150", .most = 60000,
                                   .help = "Milliseconds without a key before a completion is begun." },
    [KG_OPTION_INPUT_KEYS] = { .section = "input", .name = "keys", .kind = KG_OPTION_CHOICE, .standard = "emacs", .choices = "emacs vi",
                               .help = "Keys that edit what you write: those of Emacs, or those of vi with its commands behind Escape." },
    [KG_OPTION_THEME] = { .section = "screen", .name = "theme", .kind = KG_OPTION_TEXT, .standard = "terminal", .repository = true,
                          .help = "terminal, dark, light, or one of yours: ~/.config/kedge/themes/NAME.theme." },
    [KG_OPTION_COLOUR] = { .section = "screen", .name = "colour", .kind = KG_OPTION_CHOICE, .standard = "auto", .choices = "auto true 256 16 none",
                           .help = "How many colours; auto = those that the terminal has, and none when NO_COLOR is set; true = 24-bit ones." },
    [KG_OPTION_MOUSE] = { .section = "screen", .name = "mouse", .kind = KG_OPTION_SWITCH, .standard = "no",
                          .help = "The mouse scrolls and clicks in kedge; no = it selects text as in any terminal. F3 turns it over." },
};

const struct kg_option_row *kg_option_row(enum kg_option option)
{
    return &rows[option];
}

const char *kg_option_full_name(enum kg_option option)
{
    static _Thread_local char name[64];
    snprintf(name, sizeof name, "%s%s%s", rows[option].section, *rows[option].section ? "." : "", rows[option].name);
    return name;
}

/* "cpu, ref or best" from words set apart by spaces. */
static void list_choices(const char *choices, char *out, size_t capacity)
{
    size_t n = 0;
    for (const char *at = choices; *at && n < capacity;) {
        size_t length = strcspn(at, " ");
        const char *next = at[length] ? at + length + 1 : at + length;
        const char *before = at == choices ? "" : *next ? ", " : " or ";
        n += (size_t)snprintf(out + n, capacity - n, "%s%.*s", before, (int)length, at);
        at = next;
    }
}

void kg_option_allowed(enum kg_option option, char *out, size_t capacity)
{
    const struct kg_option_row *row = &rows[option];
    switch (row->kind) {
    case KG_OPTION_NUMBER:
        snprintf(out, capacity, "a number from %llu to %llu", (unsigned long long)row->least, (unsigned long long)row->most);
        break;
    case KG_OPTION_BYTES:
        snprintf(out, capacity, "a number of bytes such as 500M or 20G, at most %lluT", (unsigned long long)(row->most >> 40));
        break;
    case KG_OPTION_REAL:
        snprintf(out, capacity, "a number from %g to %g", row->low, row->high);
        break;
    case KG_OPTION_CHOICE:
        list_choices(row->choices, out, capacity);
        break;
    case KG_OPTION_SWITCH:
        snprintf(out, capacity, "yes or no");
        break;
    default:
        snprintf(out, capacity, "a text of at most %d bytes", TEXT_MOST);
    }
}

static bool parse_whole(const char *text, bool units, uint64_t least, uint64_t most, uint64_t *out)
{
    static const char suffixes[] = "KMGT";
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    const char *suffix = units && *end ? strchr(suffixes, *end) : NULL;
    if (suffix) {
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (value > UINT64_MAX >> shift)
            return false;
        value <<= shift;
        end++;
    }
    *out = value;
    return !errno && !*end && value >= least && value <= most;
}

static bool parse_real(const char *text, double low, double high, double *out)
{
    char *end;
    if (strspn(text, "0123456789.eE+-") != strlen(text))
        return false;
    errno = 0;
    *out = strtod(text, &end);
    return !errno && end != text && !*end && isfinite(*out) && *out >= low && *out <= high;
}

/* A word that is "N" or ends in ":N" stands for all with a number of at most three digits there. */
static bool is_choice(const char *text, const char *choices)
{
    const char *colon = strchr(text, ':');
    size_t length = strlen(text), digits = strspn(colon ? colon + 1 : text, "0123456789");
    for (const char *at = choices; *at; at += strcspn(at, " "), at += *at == ' ') {
        size_t there = strcspn(at, " "), fixed = at[there - 1] == 'N' && (there == 1 || at[there - 2] == ':') ? there - 1 : there;
        bool numbered = fixed < there;
        if (length > 0 && strncmp(at, text, fixed) == 0 && length == fixed + (numbered ? digits : 0) && (!numbered || (digits >= 1 && digits <= 3)))
            return true;
    }
    return false;
}

static bool is_text(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return strlen(text) <= TEXT_MOST;
}

static bool parse(const struct kg_option_row *row, const char *text, struct kg_value *out)
{
    switch (row->kind) {
    case KG_OPTION_NUMBER:
    case KG_OPTION_BYTES:
        return parse_whole(text, row->kind == KG_OPTION_BYTES, row->least, row->most, &out->number);
    case KG_OPTION_REAL:
        return parse_real(text, row->low, row->high, &out->real);
    case KG_OPTION_CHOICE:
        return is_choice(text, row->choices);
    case KG_OPTION_SWITCH:
        out->on = strcmp(text, "yes") == 0;
        return out->on || strcmp(text, "no") == 0;
    default:
        return is_text(text);
    }
}

enum kg_status kg_config_put(struct kg_config *config, enum kg_option option, const char *value, enum kg_speaker speaker, const char *origin,
                             struct kg_error *err)
{
    struct kg_value new = { .speaker = speaker }, *old = &config->values[option];
    char allowed[128];
    if (!parse(&rows[option], value, &new)) {
        kg_option_allowed(option, allowed, sizeof allowed);
        return kg_fail(err, KG_ERR_USAGE, "%s = %.100s: it may be %s", kg_option_full_name(option), value, allowed);
    }
    if (speaker < old->speaker)
        return KG_OK;
    new.text = strdup(value);
    new.origin = strdup(origin);
    if (!new.text || !new.origin) {
        free(new.text);
        free(new.origin);
        return kg_fail_nomem(err, "reading the configuration");
    }
    free(old->text);
    free(old->origin);
    *old = new;
    return KG_OK;
}

/* The names in a section, or all sections when there is no such one. */
static void list_known(const char *section, bool known, char *out, size_t capacity)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < KG_OPTION_COUNT && n < capacity; i++) {
        bool first_of_section = i == 0 || strcmp(rows[i].section, rows[i - 1].section) != 0;
        if (known && strcmp(rows[i].section, section) == 0)
            n += (size_t)snprintf(out + n, capacity - n, "%s%s", n ? ", " : "", rows[i].name);
        else if (!known && first_of_section && *rows[i].section)
            n += (size_t)snprintf(out + n, capacity - n, "%s[%s]", n ? ", " : "", rows[i].section);
    }
}

enum kg_option kg_option_find(const char *section, const char *name, struct kg_error *err)
{
    char known[256];
    bool has_section = false;
    int elsewhere = KG_OPTION_COUNT;
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        bool here = strcmp(rows[i].section, section) == 0, named = strcmp(rows[i].name, name) == 0;
        if (here && named)
            return (enum kg_option)i;
        has_section |= here;
        if (named && elsewhere == KG_OPTION_COUNT)
            elsewhere = i;
    }
    list_known(section, has_section, known, sizeof known);
    if (!has_section)
        kg_fail(err, KG_ERR_USAGE, "there is no section [%.60s]; there are %s", section, known);
    else if (elsewhere < KG_OPTION_COUNT && *rows[elsewhere].section)
        kg_fail(err, KG_ERR_USAGE, "there is no option '%.60s' here; it belongs under [%s]", name, rows[elsewhere].section);
    else if (elsewhere < KG_OPTION_COUNT)
        kg_fail(err, KG_ERR_USAGE, "there is no option '%.60s' here; it belongs above the first [SECTION]", name);
    else
        kg_fail(err, KG_ERR_USAGE, "there is no option '%.60s' here; there are %s", name, known);
    return KG_OPTION_COUNT;
}
