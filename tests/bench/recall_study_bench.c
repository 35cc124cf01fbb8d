/* What of full attention a choice of tokens keeps, by parameter, one factor at a time.
 *
 *   recall_study_bench MODEL NAME TOKENS RUNS FILE...
 *
 * Prints one JSON object; NAME is what the text is called there. tests/bench/recall_study.py makes tables of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "tests/bench/recall_study.h"

void *study_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        fprintf(stderr, "recall_study: out of memory\n");
        exit(1);
    }
    return p;
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_variant(const struct study_reading *r, struct study_variant *v, bool last)
{
    const size_t heads = (size_t)r->layers * r->rows * r->heads, tuples = (size_t)r->layers * r->rows * r->kv_heads;
    double sum = 0;
    for (size_t i = 0; i < heads; i++)
        sum += (double)v->outside[i];
    qsort(v->outside, heads, sizeof *v->outside, ascending);
    printf("    {\"factor\": \"%s\", \"name\": \"%s\", \"k\": %.1f, \"index\": %.6f, \"rows\": %.6f, \"outside\": %.8f, \"outside95\": %.8f, "
           "\"error\": %.8f}%s\n",
           v->factor, v->name, v->chosen / (double)tuples, v->index_bytes / v->full_bytes, v->row_bytes / v->full_bytes, sum / (double)heads,
           (double)v->outside[heads * 95 / 100], v->error / (double)heads, last ? "" : ",");
}

static void print_layers(const struct study *study)
{
    const struct study_reading *r = study->reading;
    const size_t n = (size_t)r->heads * r->rows;
    const float *outside = study->variants[study->standard].outside;
    printf("  \"layers\": [");
    for (uint32_t l = 0; l < r->layers; l++, outside += n) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)outside[i];
        printf("%s%.6f", l ? ", " : "", sum / (double)n);
    }
    printf("],\n");
}

/* As text in JSON. */
static void print_text(const char *key, const char *text)
{
    char shown[256];
    kg_printable(shown, sizeof shown, text, strlen(text));
    for (char *c = shown; *c; c++)
        *c = *c == '"' || *c == '\\' ? ' ' : *c;
    printf("  \"%s\": \"%s\",\n", key, shown);
}

static void print_study(const struct study *study, const char *asked, const char *name, double seconds)
{
    const struct study_reading *r = study->reading;
    char date[32];
    const time_t now = time(NULL);
    struct tm day;
    strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&now, &day));
    puts("{");
    print_text("model", asked);
    print_text("model_name", r->model);
    print_text("text", name);
    printf("  \"date\": \"%s\", \"tokens\": %u, \"rows\": %u, \"run\": %d, \"last\": %d, \"sinks\": %d,\n"
           "  \"layer_count\": %u, \"heads\": %u, \"kv_heads\": %u, \"head_size\": %u, \"k\": %d, \"w\": %d, \"seconds\": %.0f, \"agreed\": %.6f,\n",
           date, r->tokens, r->rows, STUDY_RUN, STUDY_LAST, STUDY_SINKS, r->layers, r->heads, r->kv_heads, r->head_size, STUDY_K,
           STUDY_WINDOW, seconds, study->chosen ? (double)study->agreed / (double)study->chosen : 1);
    print_layers(study);
    printf("  \"variants\": [\n");
    for (uint32_t i = 0; i < study->count; i++)
        print_variant(r, &study->variants[i], i + 1 == study->count);
    printf("  ]\n}\n");
}

static void progress(uint32_t done, uint32_t total)
{
    fprintf(stderr, "\rmeasured %u of %u KV heads%s", done, total, done == total ? "\n" : " ");
}

int main(int argc, char **argv)
{
    const uint32_t tokens = argc > 5 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0, runs = argc > 5 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    if (runs < 2 || runs > STUDY_LAST / STUDY_RUN) {
        fprintf(stderr, "usage: recall_study_bench MODEL NAME TOKENS RUNS FILE...\n(2 to %d runs of %d rows)\n", STUDY_LAST / STUDY_RUN, STUDY_RUN);
        return 2;
    }
    const time_t start = time(NULL);
    struct study_reading reading;
    struct kg_error err;
    if (study_read(argv[1], argv + 5, (size_t)argc - 5, tokens, runs, &reading, &err) != KG_OK) {
        fprintf(stderr, "recall_study: %s\n", err.text);
        return 1;
    }
    struct study study = { .reading = &reading, .progress = progress };
    study_variants(&study);
    study_measure(&study, false);
    study_settle(&study);
    study_measure(&study, true);
    print_study(&study, argv[1], argv[2], difftime(time(NULL), start));
    study_free(&study);
    study_reading_free(&reading);
    return 0;
}
