/* "!command": shown, run, its output in the transcript; it joins the conversation when the person says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/figures.h"
#include "tui/interface/interface_state.h"

#define FOLDED_FROM 12 /* lines */
#define HINT_ALWAYS 1e9

void kg_interface_shell(struct kg_interface *ui, const char *command)
{
    struct kg_error err;
    if (ui->shell.fd >= 0) {
        kg_interface_hint(ui, "a command is running already; Esc stops it");
        return;
    }
    free(ui->output);
    ui->output = NULL;
    if (kg_shell_start(&ui->shell, command, &err) != KG_OK) {
        kg_transcript_add(ui->transcript, KG_ENTRY_ERROR, err.text, strlen(err.text));
        return;
    }
    ui->shell.begun = kg_interface_seconds();
    char shown[100];
    kg_printable(shown, sizeof shown, command, strlen(command));
    snprintf(ui->hint, sizeof ui->hint, "running %s (%s stops it)", shown, ui->lines_only ? "Ctrl-C" : "Esc");
    kg_interface_hint(ui, ui->hint);
    ui->hint_until += HINT_ALWAYS;
}

void kg_interface_stop_shell(struct kg_interface *ui)
{
    kg_shell_stop(&ui->shell);
    kg_interface_hint(ui, ui->lines_only ? "the command was asked to end; Ctrl-C again kills it" : "the command was asked to end; Esc again kills it");
    ui->hint_until += HINT_ALWAYS;
}

/* "exit status 2, 214 lines, 1.2 s", and what was left out of it. */
static void describe(const struct kg_interface *ui, size_t lines, char *out, size_t capacity)
{
    char seconds[KG_FIGURE], count[KG_FIGURE], left[KG_FIGURE];
    const struct kg_shell *shell = &ui->shell;
    size_t n = 0;
    if (shell->status != 0)
        n = (size_t)snprintf(out, capacity, shell->status > 128 ? "ended by signal %d, " : "exit status %d, ",
                             shell->status > 128 ? shell->status - 128 : shell->status);
    n += (size_t)snprintf(out + n, capacity - n, "%s line%s, %s", kg_figure_count(count, lines), lines == 1 ? "" : "s",
                          kg_figure_seconds(seconds, kg_interface_seconds() - shell->begun));
    if (shell->left_out)
        snprintf(out + n, capacity - n, ", without its last %s", kg_figure_bytes(left, shell->left_out));
}

static void show_output(struct kg_interface *ui, const char *text, size_t length)
{
    size_t lines = length > 0 && text[length - 1] != '\n', whole_length;
    char about[160], summary[400], *whole = NULL, shown[60];
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    describe(ui, lines, about, sizeof about);
    kg_printable(shown, sizeof shown, ui->shell.command, strlen(ui->shell.command));
    snprintf(summary, sizeof summary, "$ %s: %s", shown, about);
    FILE *memory = open_memstream(&whole, &whole_length);
    if (!memory)
        return;
    fprintf(memory, "$ %s\n", ui->shell.command);
    fwrite(text, 1, length, memory);
    fprintf(memory, "%s(%s)", length > 0 && text[length - 1] != '\n' ? "\n" : "", about);
    if (fclose(memory) == 0 && lines > FOLDED_FROM)
        kg_transcript_add_folded(ui->transcript, KG_ENTRY_TABLE, summary, whole, whole_length);
    else if (whole)
        kg_transcript_add(ui->transcript, KG_ENTRY_TABLE, whole, whole_length);
    free(whole);
}

/* For /output: the label, a NUL byte, the text. */
static void keep_output(struct kg_interface *ui, const char *text, size_t length)
{
    size_t label = strlen(ui->shell.command) + 2;
    ui->output = malloc(label + 1 + length);
    if (!ui->output)
        return;
    ui->output_length = label + 1 + length;
    snprintf(ui->output, label + 1, "$ %s", ui->shell.command);
    memcpy(ui->output + label + 1, text, length);
}

void kg_interface_take_output(struct kg_interface *ui)
{
    size_t length;
    if (!kg_shell_read(&ui->shell))
        return;
    const char *text = kg_shell_text(&ui->shell, &length);
    show_output(ui, text, length);
    keep_output(ui, text, length);
    ui->status.hint = NULL;
    if (ui->testing)
        kg_interface_tested(ui, ui->shell.status);
    else if (length > 0)
        kg_interface_hint(ui, "/output adds it to the conversation");
    kg_shell_clear(&ui->shell);
    ui->dirty = true;
}

void kg_interface_add_output(struct kg_interface *ui)
{
    if (ui->output)
        kg_interface_enqueue(ui, KG_TASK_TEXT, "/output", strlen("/output"), ui->output, ui->output_length);
    else
        kg_interface_hint(ui, "no command was run; !COMMAND runs one");
}
