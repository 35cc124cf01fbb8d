/* Theme files: what they may say, and that those that are built in can be read on what they are made for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tui/screen/builtin_themes.h"
#include "tui/screen/theme.h"

static struct kg_theme theme;
static struct kg_error err;

static enum kg_status parse(const char *text)
{
    memset(&theme, 0, sizeof theme);
    return kg_theme_parse(text, strlen(text), "mine.theme", &theme, &err);
}

static void looks_are_read(void **state)
{
    (void)state;
    assert_int_equal(parse("# mine\nerror = bold underline 203 on 16 | bold bright-red on black | reverse\nbar = dim red\n"), KG_OK);
    const struct kg_look *look = theme.looks[KG_STYLE_ERROR];
    assert_int_equal(look[KG_COLOURS_256].attributes, KG_BOLD | KG_UNDERLINE);
    assert_int_equal(look[KG_COLOURS_256].foreground, 203);
    assert_int_equal(look[KG_COLOURS_256].background, 16);
    assert_int_equal(look[KG_COLOURS_16].foreground, 9);
    assert_int_equal(look[KG_COLOURS_16].background, 0);
    assert_int_equal(look[KG_COLOURS_NONE].attributes, KG_REVERSE);
    assert_int_equal(look[KG_COLOURS_NONE].foreground, -1);
    assert_memory_equal(&look[KG_COLOURS_TRUE], &look[KG_COLOURS_256], sizeof *look);
    look = theme.looks[KG_STYLE_BAR]; /* what is not given is as the one before */
    assert_int_equal(look[KG_COLOURS_16].attributes, KG_FAINT);
    assert_int_equal(look[KG_COLOURS_16].foreground, 1);
    assert_int_equal(look[KG_COLOURS_16].background, -1);
    assert_int_equal(look[KG_COLOURS_NONE].attributes, KG_FAINT);
    assert_int_equal(look[KG_COLOURS_NONE].foreground, -1);
}

static void true_colours_have_a_near_one(void **state)
{
    (void)state;
    assert_int_equal(parse("error = bold #6cB2ff on #121212 | red\nbar = #ffffff on #000000 | white\n"), KG_OK);
    const struct kg_look *look = theme.looks[KG_STYLE_ERROR];
    assert_int_equal(look[KG_COLOURS_TRUE].foreground, KG_RGB | 0x6cb2ff);
    assert_int_equal(look[KG_COLOURS_TRUE].background, KG_RGB | 0x121212);
    assert_int_equal(look[KG_COLOURS_256].foreground, 75);
    assert_int_equal(look[KG_COLOURS_256].background, 233);
    assert_int_equal(look[KG_COLOURS_16].foreground, 1);
    assert_int_equal(look[KG_COLOURS_NONE].attributes, 0);
    look = theme.looks[KG_STYLE_BAR];
    assert_int_equal(look[KG_COLOURS_256].foreground, 231);
    assert_int_equal(look[KG_COLOURS_256].background, 16);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "\nnothing = red\n", "mine.theme, line 2: there is no style 'nothing'" },
        { "[dark]\ntext = red\n", "line 2: there is no style 'dark'" },
        { "text = rouge\n", "line 1: 'rouge' cannot stand there in a look with 256 colours" },
        { "text = 256 | red\n", "'256' cannot stand there in a look with 256 colours" },
        { "text = 200\n", "a colour above 15 needs a second look" },
        { "text = #12345 | red\n", "'#12345' cannot stand there in a look with 256 colours" },
        { "text = #12345g | red\n", "'#12345g' cannot stand there" },
        { "text = #123456\n", "a colour above 15 needs a second look" },
        { "text = red | #123456\n", "'#123456' cannot stand there in a look with 16 colours" },
        { "text = 200 | 16\n", "'16' cannot stand there in a look with 16 colours" },
        { "text = on red on blue\n", "'on' cannot stand there" },
        { "text = red on\n", "'on' cannot stand there" },
        { "text = red green\n", "'green' cannot stand there" },
        { "text = red bold\n", "'bold' cannot stand there" },
        { "text = red | red | bold | dim\n", "three looks at most" },
        { "text\n", "line 1: neither" },
        { "text = \x1b[31m\n", "a control character" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(cases[i].text), KG_ERR_FORMAT);
        if (!strstr(err.text, cases[i].message))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].message);
    }
}

/* Relative luminance (WCAG 2) of a true colour, or one above 15 of the 256. */
static double luminance(int colour)
{
    static const int steps[] = { 0, 95, 135, 175, 215, 255 };
    double sum = 0;
    static const double weights[] = { 0.2126, 0.7152, 0.0722 };
    int cube = colour - 16, parts[3] = { cube / 36, cube / 6 % 6, cube % 6 };
    bool rgb = colour & KG_RGB;
    assert_true(rgb || (colour >= 16 && colour < 256));
    for (int i = 0; i < 3; i++) {
        double c = (rgb ? colour >> (16 - 8 * i) & 255 : colour >= 232 ? 8 + 10 * (colour - 232) : steps[parts[i]]) / 255.0;
        sum += weights[i] * (c <= 0.03928 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static double contrast(int one, int other)
{
    double a = luminance(one), b = luminance(other);
    return ((a > b ? a : b) + 0.05) / ((a > b ? b : a) + 0.05);
}

static void built_in_themes_are_whole_and_readable(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct kg_builtin_theme *builtin = kg_builtin_themes; builtin->name; builtin++, count++) {
        memset(&theme, 0, sizeof theme);
        for (int i = 0; i < KG_STYLE_COUNT; i++)
            theme.looks[i][KG_COLOURS_TRUE].foreground = theme.looks[i][KG_COLOURS_256].foreground = 1000; /* not said */
        assert_int_equal(kg_theme_parse(builtin->text, strlen(builtin->text), builtin->name, &theme, &err), KG_OK);
        bool light = strcmp(builtin->name, "light") == 0;
        for (int i = 0; i < KG_STYLE_COUNT; i++)
            for (int colours = KG_COLOURS_TRUE; colours <= KG_COLOURS_256; colours++) {
                const struct kg_look *look = &theme.looks[i][colours];
                assert_int_not_equal(look->foreground, 1000);
                if (strcmp(builtin->name, KG_THEME_STANDARD) == 0)
                    continue;
                double ratio = contrast(look->foreground, look->background >= 0 ? look->background : light ? 231 : 16);
                if (ratio < 4.5) /* WCAG's AA for text */
                    fail_msg("%s: style %d with colours %d has a contrast of %.1f only", builtin->name, i, colours, ratio);
            }
    }
    assert_int_equal(count, 3);
}

static void a_person_may_have_their_own(void **state)
{
    char root[] = "/tmp/kedge-theme-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(root));
    setenv("XDG_CONFIG_HOME", root, 1);
    assert_int_equal(kg_theme_find("mine", &theme, &err), KG_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "there are terminal, dark, light"));
    snprintf(path, sizeof path, "%s/kedge", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/kedge/themes", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/kedge/themes/mine.theme", root);
    FILE *file = fopen(path, "w");
    fputs("error = green\n", file);
    fclose(file);
    assert_int_equal(kg_theme_find("mine", &theme, &err), KG_OK);
    assert_int_equal(theme.looks[KG_STYLE_ERROR][KG_COLOURS_256].foreground, 2);
    assert_int_equal(theme.looks[KG_STYLE_NOTICE][KG_COLOURS_256].foreground, 3); /* the standard one's */
    assert_int_equal(kg_theme_find("../themes/mine", &theme, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_theme_find("", &theme, &err), KG_ERR_NOT_FOUND);
    file = fopen(path, "a");
    fputs("error = gren\n", file);
    fclose(file);
    assert_int_equal(kg_theme_find("mine", &theme, &err), KG_ERR_FORMAT);
    assert_non_null(strstr(err.text, "mine.theme, line 2: 'gren'"));
    assert_int_equal(theme.looks[KG_STYLE_ERROR][KG_COLOURS_256].foreground, 1);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_are_read),
        cmocka_unit_test(true_colours_have_a_near_one),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(built_in_themes_are_whole_and_readable),
        cmocka_unit_test(a_person_may_have_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
