#include "repo-index/ctags.h"
#include "repo-index/repo_index.h"
#include "repo-index/symbol.h"

enum kg_status kg_text_symbols(const char *path, const char *text, size_t length, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx,
                               struct kg_error *err)
{
    struct kg_symbols symbols = { 0 };
    enum kg_symbols_source source;
    struct kg_ctags *ctags = kg_ctags_new();
    enum kg_status status = KG_OK;
    if (!ctags || !kg_symbols_of(&symbols, ctags, path, text, length, &source))
        status = kg_fail_nomem(err, "looking for definitions");
    struct kg_symbol_view view;
    const char *at = symbols.bytes;
    while (status == KG_OK && symbols.length > 0 && kg_symbol_next(&at, symbols.bytes + symbols.length, &view)) {
        const struct kg_index_symbol symbol = { .path = path, .kind = view.kind, .name = view.name, .scope = view.scope, .signature = view.signature,
                                                .line = view.line, .end = view.end };
        if (each(ctx, &symbol))
            break;
    }
    kg_symbols_free(&symbols);
    kg_ctags_free(ctags);
    return status;
}
