/* Which parts of a code block are comments, strings, numbers and keywords: simple lexers for common languages. A text that is
 * not finished yet, or wrong, is as good as any other. */
#ifndef KG_TUI_HIGHLIGHT_H
#define KG_TUI_HIGHLIGHT_H

#include <stddef.h>

/* Calls take for consecutive pieces that make up the text, with a style of kg_style. language: as behind a code fence; one
 * that is not known makes one piece of KG_STYLE_CODE_BLOCK. */
void kg_highlight(const char *language, size_t language_length, const char *text, size_t length,
                  void (*take)(void *ctx, const char *piece, size_t length, unsigned style), void *ctx);

#endif
