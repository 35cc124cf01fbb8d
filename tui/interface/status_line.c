#include "tui/interface/status_line.h"

#include <stdio.h>
#include <string.h>

#include "tui/interface/figures.h"

#define SEGMENTS 5

static void describe_share(char *out, size_t capacity, const char *verb, const struct kg_status_line *status)
{
    if (status->total > 0)
        snprintf(out, capacity, "%s %.0f %%", verb, 100.0 * (double)status->done / (double)status->total);
    else
        snprintf(out, capacity, "%s", verb);
}

static void describe_tokens(char *out, size_t capacity, const char *verb, const struct kg_status_line *status)
{
    char done[KG_FIGURE], total[KG_FIGURE];
    int n = snprintf(out, capacity, "%s%s%s", verb, *status->what ? " " : "", status->what);
    if (status->total > 0 && n > 0 && (size_t)n < capacity)
        snprintf(out + n, capacity - (size_t)n, " %s of %s tokens",
                 kg_figure_count(done, status->done < status->total ? status->done : status->total),
                 kg_figure_count(total, status->total));
}

void kg_status_line_text(const struct kg_status_line *status, char *out, size_t capacity)
{
    switch (status->doing) {
    case KG_DOING_CHECKING:
        describe_share(out, capacity, "checking the model", status);
        break;
    case KG_DOING_LOADING:
        describe_share(out, capacity, "loading", status);
        break;
    case KG_DOING_RESTORING:
        describe_tokens(out, capacity, "restoring", status);
        break;
    case KG_DOING_READING:
        describe_tokens(out, capacity, "reading", status);
        break;
    case KG_DOING_AHEAD:
        describe_tokens(out, capacity, "reading ahead", status);
        break;
    case KG_DOING_AGAIN:
        describe_tokens(out, capacity, "reading again", status);
        break;
    case KG_DOING_SAVING:
        describe_tokens(out, capacity, "saving", status);
        break;
    case KG_DOING_INDEXING:
        describe_share(out, capacity, "looking through the repository", status);
        break;
    case KG_DOING_CHOOSING:
        snprintf(out, capacity, "choosing files");
        break;
    case KG_DOING_SUMMARISING:
        describe_tokens(out, capacity, "summarising", status);
        break;
    case KG_DOING_ANSWERING:
        snprintf(out, capacity, "answering");
        break;
    default:
        snprintf(out, capacity, "%s", status->no_model ? "no model" : "ready");
    }
    if (status->doing != KG_DOING_NOTHING && status->seconds >= 2) {
        char seconds[KG_FIGURE];
        size_t n = strlen(out);
        if (status->seconds < 60)
            snprintf(seconds, sizeof seconds, "%.0f s", status->seconds);
        else
            kg_figure_seconds(seconds, status->seconds);
        snprintf(out + n, capacity - n, ", %s", seconds);
    }
}

/* What stands at the right, the most important last; less important ones give way on narrow screens. */
static void describe_rest(const struct kg_status_line *status, char segments[SEGMENTS][160])
{
    char tokens[KG_FIGURE], limit[KG_FIGURE], rate[KG_FIGURE];
    memset(segments, 0, SEGMENTS * sizeof *segments);
    snprintf(segments[0], sizeof segments[0], "%s", status->device);
    snprintf(segments[1], sizeof segments[1], "%s", status->model);
    if (status->context_limit == 0)
        return;
    if (status->reused_tokens)
        snprintf(segments[2], sizeof segments[2], "reused %s", kg_figure_count(tokens, status->reused_tokens));
    if (status->rate > 0)
        snprintf(segments[3], sizeof segments[3], "%s tokens/s", kg_figure_rate(rate, status->rate));
    snprintf(segments[4], sizeof segments[4], "%s of %s tokens", kg_figure_count(tokens, status->context_tokens),
             kg_figure_count(limit, status->context_limit));
}

void kg_status_line_draw(const struct kg_status_line *status, struct kg_screen *screen, int row)
{
    static const int order[SEGMENTS] = { 4, 3, 2, 1, 0 };
    char left[640], segments[SEGMENTS][160];
    bool shown[SEGMENTS] = { false };
    int columns = screen->columns;
    bool busy = (status->doing != KG_DOING_NOTHING && status->doing != KG_DOING_AHEAD && status->doing != KG_DOING_AGAIN) || status->hint;
    if (status->hint)
        snprintf(left, sizeof left, "%s", status->hint);
    else
        kg_status_line_text(status, left, sizeof left);
    describe_rest(status, segments);
    int room = columns - 2 - (int)kg_text_width(left, strlen(left)) - 2, used = 0;
    for (int i = 0; i < SEGMENTS; i++) {
        int width = (int)kg_text_width(segments[order[i]], strlen(segments[order[i]])) + 3;
        if (width > 3 && used + width - 3 <= room) {
            shown[order[i]] = true;
            used += width;
        }
    }
    kg_screen_fill(screen, row, 0, columns, KG_STYLE_BAR);
    kg_screen_put_cut(screen, row, columns > 20, columns - 1, left, strlen(left), busy ? KG_STYLE_BAR_BUSY : KG_STYLE_BAR);
    int column = columns - 1 - (used - 3);
    for (int i = 0; used > 0 && i < SEGMENTS; i++) {
        if (!shown[i])
            continue;
        column = kg_screen_puts(screen, row, column, columns, segments[i], KG_STYLE_BAR);
        used -= (int)kg_text_width(segments[i], strlen(segments[i])) + 3;
        if (used > 0)
            column = kg_screen_puts(screen, row, column, columns, " · ", KG_STYLE_BAR);
    }
}
