/* kedge: an interactive coding assistant for the terminal.
 *
 * main chooses what runs: a command by its name, a question with -p, or else the interface.
 */
#include <locale.h>
#include <string.h>

#include "tui/commands/command.h"

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* numbers in JSON have points everywhere */
    for (const struct kg_command *command = kg_commands; argc > 1 && command->name; command++)
        if (strcmp(argv[1], command->name) == 0)
            return command->run(argc - 1, argv + 1);
    return kg_command_prompt(argc, argv);
}
