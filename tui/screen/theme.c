#include "tui/screen/theme.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"
#include "tui/config/lines.h"
#include "tui/screen/builtin_themes.h"

struct reading {
    struct kg_theme *theme;
    const char *origin;
    enum kg_status status;
    struct kg_error *err;
};

static bool refuse(void *ctx, int line, const char *why)
{
    struct reading *reading = ctx;
    reading->status = kg_fail(reading->err, KG_ERR_FORMAT, "%s, line %d: %s", reading->origin, line, why);
    return false;
}

static enum kg_style find_style(const char *name)
{
    static const char *const names[KG_STYLE_COUNT] = {
#define KG_STYLE_NAME(style, letter, name) [style] = (name),
        KG_STYLE_TABLE(KG_STYLE_NAME)
#undef KG_STYLE_NAME
    };
    int style = 0;
    while (style < KG_STYLE_COUNT && strcmp(names[style], name) != 0)
        style++;
    return (enum kg_style)style;
}

static int squared(int a, int b)
{
    return (a - b) * (a - b);
}

/* Of the 256, those above 15: the terminal's own palette is not known. */
static int nearest(int rgb)
{
    static const int steps[] = { 0, 95, 135, 175, 215, 255 };
    int best = 16, least = INT_MAX;
    for (int i = 16; i < 256; i++) {
        int grey = 8 + 10 * (i - 232), cube = i - 16;
        int red = i < 232 ? steps[cube / 36] : grey, green = i < 232 ? steps[cube / 6 % 6] : grey, blue = i < 232 ? steps[cube % 6] : grey;
        int far = squared(red, rgb >> 16 & 255) + squared(green, rgb >> 8 & 255) + squared(blue, rgb & 255);
        if (far < least) {
            least = far;
            best = i;
        }
    }
    return best;
}

static int find_rgb(const char *word, enum kg_colours colours)
{
    if (strlen(word) != 7 || strspn(word + 1, "0123456789abcdefABCDEF") != 6 || colours > KG_COLOURS_256)
        return -2;
    int rgb = (int)strtol(word + 1, NULL, 16);
    return colours == KG_COLOURS_TRUE ? KG_RGB | rgb : nearest(rgb);
}

/* -1 to 255, KG_RGB and a colour, or -2: none. */
static int find_colour(const char *word, enum kg_colours colours)
{
    static const char *const names[] = { "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white" };
    bool bright = strncmp(word, "bright-", 7) == 0;
    if (strcmp(word, "default") == 0)
        return -1;
    for (int i = 0; i < 8; i++)
        if (strcmp(word + (bright ? 7 : 0), names[i]) == 0)
            return i + (bright ? 8 : 0);
    if (word[0] == '#')
        return find_rgb(word, colours);
    size_t digits = strspn(word, "0123456789");
    if (digits == 0 || digits > 3 || word[digits])
        return -2;
    int number = (int)strtol(word, NULL, 10);
    return number < (colours <= KG_COLOURS_256 ? 256 : 16) ? number : -2;
}

static unsigned find_attribute(const char *word)
{
    static const struct {
        const char *name;
        unsigned flag;
    } known[] = { { "bold", KG_BOLD }, { "dim", KG_FAINT }, { "italic", KG_ITALIC }, { "underline", KG_UNDERLINE }, { "reverse", KG_REVERSE } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, word) == 0)
            return known[i].flag;
    return 0;
}

/* False leaves the word that is wrong in *wrong. */
static bool parse_look(char *text, enum kg_colours colours, struct kg_look *out, const char **wrong)
{
    bool coloured = false, behind = false, backed = false;
    *out = (struct kg_look){ .foreground = -1, .background = -1 };
    for (char *word; (word = strsep(&text, " \t"));) {
        unsigned attribute = find_attribute(word);
        int colour = find_colour(word, colours);
        bool last = *word && attribute == 0 && colour >= -1;
        *wrong = word;
        if (*word == '\0')
            continue;
        if (attribute && !coloured && !behind)
            out->attributes |= (uint16_t)attribute;
        else if (strcmp(word, "on") == 0 && !behind)
            behind = true;
        else if (last && behind && !backed)
            out->background = colour;
        else if (last && !behind && !coloured)
            out->foreground = colour;
        else
            return false;
        coloured |= last && !behind;
        backed |= last && behind;
    }
    *wrong = "on";
    return behind == backed;
}

static bool take(void *ctx, int line, const char *section, const char *name, const char *value)
{
    struct reading *reading = ctx;
    char text[256], why[160], *rest = text;
    const char *wrong = "";
    enum kg_style style = find_style(name);
    if (*section || style == KG_STYLE_COUNT) {
        snprintf(why, sizeof why, "there is no style '%.60s'; kedge.conf(5) lists them", *section ? section : name);
        return refuse(ctx, line, why);
    }
    snprintf(text, sizeof text, "%s", value);
    struct kg_look looks[KG_COLOURS_AUTO];
    for (int i = 0; i < KG_COLOURS_AUTO; i++) {
        char first[256];
        snprintf(first, sizeof first, "%s", rest ? rest : "");
        first[strcspn(first, "|")] = '\0';
        char *look = i == KG_COLOURS_TRUE ? first : strsep(&rest, "|"); /* the first one is read twice */
        if (!look && i > KG_COLOURS_256)
            looks[i] = looks[i - 1];
        else if (!look || !parse_look(look, (enum kg_colours)i, &looks[i], &wrong)) {
            snprintf(why, sizeof why, "'%.60s' cannot stand there in a look with %s", wrong,
                     i <= KG_COLOURS_256 ? "256 colours" : i == KG_COLOURS_16 ? "16 colours" : "no colours");
            return refuse(ctx, line, why);
        }
    }
    if (rest)
        return refuse(ctx, line, "three looks at most: with 256 colours | with 16 | without");
    if (looks[KG_COLOURS_16].foreground > 15 || looks[KG_COLOURS_16].background > 15)
        return refuse(ctx, line, "a colour above 15 needs a second look for 16 colours, behind a '|'");
    looks[KG_COLOURS_NONE].foreground = looks[KG_COLOURS_NONE].background = -1;
    memcpy(reading->theme->looks[style], looks, sizeof looks);
    return true;
}

enum kg_status kg_theme_parse(const char *text, size_t length, const char *origin, struct kg_theme *theme, struct kg_error *err)
{
    struct reading reading = { .theme = theme, .origin = origin, .status = KG_OK, .err = err };
    if (!kg_lines_read(text, length, &(struct kg_line_reader){ .take = take, .refuse = refuse, .ctx = &reading }))
        return kg_fail_nomem(err, "reading a theme");
    return reading.status;
}

static enum kg_status parse_builtin(const struct kg_builtin_theme *builtin, struct kg_theme *out, struct kg_error *err)
{
    char origin[64];
    snprintf(origin, sizeof origin, "the theme %s", builtin->name);
    return kg_theme_parse(builtin->text, strlen(builtin->text), origin, out, err);
}

/* KG_ERR_NOT_FOUND: there is none of this name. */
static enum kg_status parse_own(const char *name, struct kg_theme *out, struct kg_error *err)
{
    char leaf[96], path[KG_PATH_MAX], *text;
    size_t length;
    snprintf(leaf, sizeof leaf, "themes/%s.theme", name);
    if (kg_place_path(KG_PLACE_CONFIG, leaf, path, NULL) != KG_OK)
        return KG_ERR_NOT_FOUND;
    enum kg_status status = kg_read_file(path, KG_LINES_BYTES, &text, &length, err);
    if (status != KG_OK)
        return status;
    status = kg_theme_parse(text, length, path, out, err);
    free(text);
    return status;
}

enum kg_status kg_theme_find(const char *name, struct kg_theme *out, struct kg_error *err)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    bool plain = length > 0 && length < 64 && name[length] == '\0';
    parse_builtin(&kg_builtin_themes[0], out, NULL);
    enum kg_status status = plain ? parse_own(name, out, err) : KG_ERR_NOT_FOUND;
    for (const struct kg_builtin_theme *builtin = kg_builtin_themes; status == KG_ERR_NOT_FOUND && builtin->name; builtin++)
        if (strcmp(builtin->name, name) == 0)
            status = parse_builtin(builtin, out, err);
    if (status == KG_ERR_NOT_FOUND)
        kg_fail(err, status, "there is no theme '%.60s'; there are terminal, dark, light, and yours under ~/.config/kedge/themes", name);
    if (status != KG_OK)
        parse_builtin(&kg_builtin_themes[0], out, NULL);
    return status;
}
