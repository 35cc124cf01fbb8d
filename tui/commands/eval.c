#include "tui/commands/eval.h"

#include "tui/commands/eval_cbr.h"
#include "tui/commands/eval_edit.h"
#include "tui/commands/eval_patch.h"

#include <getopt.h>
#include <string.h>

static const struct subcommand {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} subcommands[] = {
    { "cbr", "what of its context a way of reading and looking keeps", kg_command_eval_cbr },
    { "edit", "changes to small projects, in each form of edits, checked in a sandbox", kg_command_eval_edit },
    { "humaneval", "functions written after their description, tested in a sandbox", kg_command_eval_humaneval },
    { "infill", "single lines filled in between what stands before and behind", kg_command_eval_infill },
    { "patch", "what a file is worth that is read again in part after an edit", kg_command_eval_patch },
};
#define SUBCOMMANDS (sizeof subcommands / sizeof *subcommands)

static int help(void)
{
    puts("usage: kedge eval SUBCOMMAND ...\n\nMeasures how well a model answers.\n");
    for (const struct subcommand *s = subcommands; s < subcommands + SUBCOMMANDS; s++)
        printf("  %-10s %s\n", s->name, s->summary);
    int result = KG_EXIT_OK;
    for (const struct subcommand *s = subcommands; s < subcommands + SUBCOMMANDS && result == KG_EXIT_OK; s++) {
        char *argv[] = { (char *)s->name, (char *)"--help", NULL };
        putchar('\n');
        optind = 0; /* another list of arguments */
        result = s->run(2, argv);
    }
    return result;
}

int kg_command_eval(int argc, char **argv)
{
    if (argc < 2)
        return kg_command_misused("eval", "say what: cbr, edit, humaneval, infill or patch");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    for (const struct subcommand *s = subcommands; s < subcommands + SUBCOMMANDS; s++)
        if (strcmp(argv[1], s->name) == 0)
            return s->run(argc - 1, argv + 1);
    return kg_command_misused("eval", "there is no evaluation '%s'", argv[1]);
}
