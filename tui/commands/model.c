#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/catalogue/catalogue.h"
#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge model ls [--json]\n"
    "       kedge model get [NAME]...\n"
    "       kedge model path [NAME]\n"
    "\n"
    "ls     lists the models that are known, and which of them are here\n"
    "get    fetches models (the default one without a NAME); stopped, it goes on from there the next time\n"
    "path   prints where a model lies\n"
    "\n"
    "Models are listed in models.conf; yours is ~/.config/kedge/models.conf. They lie in $KEDGE_MODELS, by default\n"
    "~/.local/share/kedge/models. $KEDGE_MODEL names another default model.\n";

/* Is the file there, by its length alone: listing must not read gigabytes. */
static bool is_here(const struct kg_catalogue_model *model, char path[KG_PATH_MAX])
{
    struct stat st;
    return kg_place_path(KG_PLACE_MODELS, model->file, path, NULL) == KG_OK && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == model->bytes;
}

static bool add_model(cJSON *list, const struct kg_catalogue_model *model)
{
    char path[KG_PATH_MAX] = "";
    bool here = is_here(model, path);
    cJSON *object = cJSON_CreateObject();
    bool whole = object && cJSON_AddStringToObject(object, "name", model->name) &&
                 cJSON_AddStringToObject(object, "title", model->title) &&
                 cJSON_AddStringToObject(object, "licence", model->licence) &&
                 cJSON_AddStringToObject(object, "file", model->file) &&
                 cJSON_AddNumberToObject(object, "bytes", (double)model->bytes) &&
                 cJSON_AddStringToObject(object, "sha256", model->sha256) &&
                 cJSON_AddBoolToObject(object, "default", model->is_default) &&
                 cJSON_AddNumberToObject(object, "sources", (double)model->sources) &&
                 cJSON_AddBoolToObject(object, "present", here) &&
                 cJSON_AddStringToObject(object, "path", path);
    if (whole)
        return cJSON_AddItemToArray(list, object);
    cJSON_Delete(object);
    return false;
}

static int list_json(const struct kg_catalogue *catalogue)
{
    cJSON *list = cJSON_CreateArray();
    bool whole = list != NULL;
    for (size_t i = 0; whole && i < kg_catalogue_count(catalogue); i++)
        whole = add_model(list, kg_catalogue_at(catalogue, i));
    char *text = whole ? cJSON_Print(list) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(list);
    if (text)
        return 0;
    fputs("kedge model: out of memory\n", stderr);
    return 1;
}

static int list(const struct kg_catalogue *catalogue)
{
    for (size_t i = 0; i < kg_catalogue_count(catalogue); i++) {
        const struct kg_catalogue_model *model = kg_catalogue_at(catalogue, i);
        char path[KG_PATH_MAX];
        printf("%-12s %7.1f MB  %-8s %s, %s%s\n", model->name, (double)model->bytes / 1e6, is_here(model, path) ? "here" : "-",
               model->title, model->licence, model->is_default ? " (default)" : "");
    }
    return 0;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

struct bar {
    const char *name;
    bool terminal;
    double began;         /* seconds; when the first bytes were counted */
    double drawn;
    uint64_t first;       /* bytes that were there then */
    unsigned tenth;       /* plain lines: the last tenth told, plus one */
    char source[128];
    bool checking;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* "####......": `width` characters. */
static void paint(char *out, unsigned width, uint64_t done, uint64_t total)
{
    unsigned full = total ? (unsigned)(done * width / total) : 0;
    for (unsigned i = 0; i < width; i++)
        out[i] = i < full ? '#' : '.';
    out[width] = '\0';
}

static void draw(struct bar *bar, const struct kg_fetch_progress *now)
{
    struct winsize window = { .ws_col = 80 };
    char painted[41], line[512], rate[64] = "", part[160];
    double seconds = now_s() - bar->began;
    double speed = seconds > 1 && now->done > bar->first ? (double)(now->done - bar->first) / seconds : 0;
    ioctl(STDERR_FILENO, TIOCGWINSZ, &window);
    unsigned columns = window.ws_col ? window.ws_col : 80;
    if (speed > 0) {
        unsigned left = (unsigned)((double)(now->total - now->done) / speed);
        snprintf(rate, sizeof rate, "  %.1f MB/s  %u:%02u left", speed / 1e6, left / 60, left % 60);
    }
    unsigned room = columns > 80 ? columns - 70 : 10;
    paint(painted, room < 40 ? room : 40, now->done, now->total);
    if (now->parts > 1)
        snprintf(part, sizeof part, "%.*s, part %u of %u", (int)strcspn(now->source, " "), now->source, now->part, now->parts);
    else
        snprintf(part, sizeof part, "%s", now->source);
    int n = snprintf(line, sizeof line, "%s %s %3u %%  %" PRIu64 " of %" PRIu64 " MB%s  %s", bar->name, painted,
                     (unsigned)(now->done * 100 / now->total), now->done / 1000000, now->total / 1000000, now->checking ? "" : rate,
                     now->checking ? "checking" : part);
    if (n < 0)
        return;
    /* one column stays free: a full line would wrap */
    fprintf(stderr, "\r%.*s\x1b[K", (int)columns - 1, line);
}

/* Without a terminal: a line for each tenth, and one when the digest is computed. */
static void tell(struct bar *bar, const struct kg_fetch_progress *now)
{
    unsigned tenth = (unsigned)(now->done * 10 / now->total) + 1;
    if (now->checking && !bar->checking)
        fprintf(stderr, "%s: checking\n", bar->name);
    if (now->checking || (tenth <= bar->tenth && !(now->part == 1 && strcmp(bar->source, now->source) != 0)))
        return;
    fprintf(stderr, "%s: %3u %% of %" PRIu64 " MB, %s\n", bar->name, (unsigned)(now->done * 100 / now->total), now->total / 1000000, now->source);
    bar->tenth = tenth;
}

static int show(void *ctx, const struct kg_fetch_progress *now)
{
    struct bar *bar = ctx;
    double time = now_s();
    bool new_source = strcmp(bar->source, now->source) != 0;
    if (bar->began == 0 || now->done < bar->first) {
        bar->began = time;
        bar->first = now->done;
    }
    if (!bar->terminal)
        tell(bar, now);
    else if (time - bar->drawn > 0.1 || new_source || bar->checking != now->checking) {
        draw(bar, now);
        bar->drawn = time;
    }
    snprintf(bar->source, sizeof bar->source, "%s", now->source);
    bar->checking = now->checking;
    return interrupted;
}

static int get_one(const struct kg_catalogue *catalogue, const char *name)
{
    struct bar bar = { .name = name, .terminal = isatty(STDERR_FILENO) };
    struct kg_error err;
    char path[KG_PATH_MAX];
    enum kg_status status;
    if (kg_catalogue_find(catalogue, name)) {
        status = kg_catalogue_fetch(catalogue, name, show, &bar, &err);
        if (bar.terminal && bar.drawn > 0)
            fputs("\r\x1b[K", stderr);
        if (status != KG_OK)
            return kg_command_failed("model", &err);
    }
    status = kg_catalogue_locate(catalogue, name, path, &err);
    if (status != KG_OK)
        return kg_command_failed("model", &err);
    puts(path);
    return 0;
}

/* $KEDGE_MODEL, else the catalogue's own default. */
static const char *default_name(const struct kg_catalogue *catalogue)
{
    const char *name = getenv("KEDGE_MODEL");
    for (size_t i = 0; !(name && *name) && i < kg_catalogue_count(catalogue); i++)
        if (kg_catalogue_at(catalogue, i)->is_default)
            name = kg_catalogue_at(catalogue, i)->name;
    return name && *name ? name : "";
}

static int get(const struct kg_catalogue *catalogue, int count, char **names)
{
    struct sigaction action = { .sa_handler = interrupt };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    int result = count ? 0 : get_one(catalogue, default_name(catalogue));
    for (int i = 0; i < count && result == 0; i++)
        result = get_one(catalogue, names[i]);
    return result;
}

static int print_path(const struct kg_catalogue *catalogue, const char *name)
{
    char path[KG_PATH_MAX];
    struct kg_error err;
    if (kg_catalogue_locate(catalogue, name, path, &err) != KG_OK)
        return kg_command_failed("model", &err);
    puts(path);
    return 0;
}

static int run(const struct kg_catalogue *catalogue, const char *verb, bool json, int count, char **names)
{
    if (json && strcmp(verb, "ls") != 0)
        return kg_command_misused("model", "--json belongs to ls");
    if (strcmp(verb, "ls") == 0)
        return count ? kg_command_misused("model", "ls takes no names") : json ? list_json(catalogue) : list(catalogue);
    if (strcmp(verb, "get") == 0)
        return get(catalogue, count, names);
    if (strcmp(verb, "path") == 0)
        return count > 1 ? kg_command_misused("model", "path takes one name") : print_path(catalogue, count ? names[0] : NULL);
    return kg_command_misused("model", "say ls, get or path");
}

int kg_command_model(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { "json", no_argument, NULL, 'j' }, { 0 } };
    bool json = false;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option != 'j')
            return KG_EXIT_USAGE;
        json = true;
    }
    if (optind == argc)
        return kg_command_misused("model", "say ls, get or path");
    struct kg_catalogue *catalogue;
    struct kg_error err;
    if (kg_catalogue_open(&catalogue, &err) != KG_OK)
        return kg_command_failed("model", &err);
    int result = run(catalogue, argv[optind], json, argc - optind - 1, argv + optind + 1);
    kg_catalogue_close(catalogue);
    if (result == 0 && fflush(stdout) != 0) {
        fputs("kedge model: cannot write the output\n", stderr);
        return 1;
    }
    return result;
}
