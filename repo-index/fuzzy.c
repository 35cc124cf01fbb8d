#include "repo-index/fuzzy.h"

#include <string.h>

#define MATCH 16
#define GAP_START (-3)
#define GAP_MORE (-1)
#define BOUNDARY 8
#define CAMEL 7
#define CONSECUTIVE 4
#define IN_NAME 10   /* all of the pattern in the file's name */
#define PATTERN_MAX 64
#define TEXT_MAX 512 /* the end of a longer path is what counts */

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool same(char typed, char there)
{
    return typed == there || (is_upper(there) && typed == there + 32);
}

static int bonus_at(const char *text, int i)
{
    if (i == 0 || strchr("/_-. ", text[i - 1]))
        return text[i] == '/' ? 0 : BOUNDARY + (i == 0 || text[i - 1] == '/' ? 2 : 0);
    return is_upper(text[i]) && is_lower_or_digit(text[i - 1]) ? CAMEL : 0;
}

/* Score of the shortest window that ends where a first match from the left ends. */
static int score_window(const char *pattern, const char *text)
{
    int n = (int)strlen(pattern);
    int at = 0, i = 0;
    for (; text[i] && at < n; i++)
        at += same(pattern[at], text[i]);
    if (at < n)
        return 0;
    int first = i - 1;
    for (at = n - 1;; first--)
        if (same(pattern[at], text[first]) && --at < 0)
            break;
    int score = 0, run_bonus = 0;
    bool in_gap = false, before = false;
    for (i = first, at = 0; at < n; i++) {
        if (!same(pattern[at], text[i])) {
            score += in_gap ? GAP_MORE : GAP_START;
            in_gap = true;
            before = false;
            continue;
        }
        int bonus = bonus_at(text, i);
        run_bonus = before && bonus < run_bonus ? run_bonus : bonus;
        int extra = before && run_bonus < CONSECUTIVE ? CONSECUTIVE : before ? run_bonus : bonus;
        score += MATCH + (at == 0 ? 2 * extra : extra);
        in_gap = false;
        before = true;
        at++;
    }
    return score > 1 ? score : 1;
}

int kg_fuzzy_quick(const char *pattern, const char *path, const char *name)
{
    int in_name = score_window(pattern, name);
    if (in_name)
        return in_name + IN_NAME;
    return name > path ? score_window(pattern, path) : 0;
}

/* One cell a character of the text, for the pattern up to one of its characters: the best score with that character here, how
 * large a bonus its run began with, and the best score with it here or before. */
struct cell {
    int here, run, best;
};

static int score_best(const char *pattern, const char *text, int length)
{
    struct cell row[TEXT_MAX] = { 0 };
    int top = 0;
    for (int p = 0; pattern[p]; p++) {
        struct cell left = { 0 }, diagonal = { 0 };
        bool in_gap = false;
        top = 0;
        for (int i = 0; i < length; i++) {
            struct cell now = { 0 };
            if (same(pattern[p], text[i]) && (p == 0 || diagonal.best > 0)) { /* row 0 has no diagonal */
                int bonus = bonus_at(text, i);
                bool adjacent = diagonal.here > 0;
                now.run = adjacent && diagonal.run > bonus ? diagonal.run : bonus;
                int alone = diagonal.best + MATCH + (p == 0 ? 2 * bonus : bonus);
                int together = adjacent ? diagonal.here + MATCH + (now.run > CONSECUTIVE ? now.run : CONSECUTIVE) : 0;
                now.here = together > alone ? together : alone;
            }
            int kept = left.best + (in_gap ? GAP_MORE : GAP_START);
            in_gap = now.here < kept;
            kept = left.best > 0 && kept < 1 ? 1 : kept;
            now.best = now.here > kept ? now.here : kept > 0 ? kept : 0;
            top = now.here > top ? now.here : top;
            diagonal = row[i];
            row[i] = left = now;
        }
    }
    return top;
}

int kg_fuzzy_best(const char *pattern, const char *path, const char *name)
{
    size_t length = strlen(path);
    size_t n = strlen(pattern);
    if (n == 0 || n > PATTERN_MAX)
        return kg_fuzzy_quick(pattern, path, name);
    if (length >= TEXT_MAX) {
        path += length - (TEXT_MAX - 1);
        length = TEXT_MAX - 1;
        name = name < path ? path : name;
    }
    int in_name = score_best(pattern, name, (int)(path + length - name));
    int anywhere = score_best(pattern, path, (int)length);
    int score = in_name && in_name + IN_NAME > anywhere ? in_name + IN_NAME : anywhere;
    return score ? score : kg_fuzzy_quick(pattern, path, name);
}
