/* html.c - see html.h. */
#include "html.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the character that begins here; 0: it is none that a page may hold. */
static size_t character_length(const unsigned char *at)
{
    uint32_t value;
    size_t length;
    if (at[0] < 0x80)
        return at[0] >= ' ' && at[0] != 0x7f ? 1 : at[0] == '\t' || at[0] == '\n';
    if (at[0] >= 0xc2 && at[0] < 0xe0) {
        value = at[0] & 0x1f;
        length = 2;
    } else if (at[0] >= 0xe0 && at[0] < 0xf0) {
        value = at[0] & 0x0f;
        length = 3;
    } else if (at[0] >= 0xf0 && at[0] < 0xf5) {
        value = at[0] & 0x07;
        length = 4;
    } else {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) /* the text's end, too */
            return 0;
        value = value << 6 | (at[i] & 0x3f);
    }
    bool is_too_long = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    bool is_surrogate = value >= 0xd800 && value < 0xe000;
    bool is_control = value < 0xa0;
    bool is_none = (value & 0xfffe) == 0xfffe || (value >= 0xfdd0 && value < 0xfdf0);
    return is_too_long || is_surrogate || is_control || is_none || value > 0x10ffff ? 0 : length;
}

void html_text(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = character_length(at);
        switch (*at) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default:
            if (length > 0)
                fwrite(at, 1, length, out);
            else
                fputs("\xef\xbf\xbd", out);
        }
        at += length > 0 ? length : 1;
    }
}

/* What an id comes right behind, where one stands. */
static const char *const before_ids[] = {
    " id=\"", " id='", " xlink:href=\"#", " xlink:href='#", " href=\"#", " href='#", "url(#"};

static size_t id_begin_length(const char *at)
{
    for (size_t i = 0; i < sizeof(before_ids) / sizeof(before_ids[0]); i++) {
        size_t length = strlen(before_ids[i]);
        if (strncmp(at, before_ids[i], length) == 0)
            return length;
    }
    return 0;
}

int html_svg(FILE *out, const char *svg, const char *prefix, const char *label)
{
    const char *begin = strstr(svg, "<svg"), *end = begin ? strstr(begin, "</svg>") : NULL;
    if (!end)
        return -EINVAL;
    fputs("<svg role=\"img\" aria-label=\"", out);
    html_text(out, label);
    fputc('"', out);
    begin += strlen("<svg");
    end += strlen("</svg>");
    for (const char *at = begin; at < end;) {
        size_t length = id_begin_length(at);
        if (length > 0) {
            fwrite(at, 1, length, out);
            fputs(prefix, out);
            at += length;
        } else {
            fputc(*at++, out);
        }
    }
    fputc('\n', out);
    return 0;
}
