/* Markdown (CommonMark by md4c) to styled paragraphs. Nothing of the source is lost to the eye: HTML, tables, line ends
 * and definitions of links are shown as written, and links show where they go. An open code fence is a code block.
 */
#ifndef KG_TUI_MARKDOWN_H
#define KG_TUI_MARKDOWN_H

#include "tui/transcript/rich_text.h"

/* Adds the text's paragraphs; indent (printable) stands before every row. */
void kg_markdown(struct kg_rich_text *rich, const char *text, size_t length, const char *indent);

#endif
