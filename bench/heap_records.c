/* heap_records.c - see heap_records.h. One random number a call of add(): in which order a call works
 * its arguments out is the compiler's choice. */
#include "heap_records.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/rng.h"

#define NR(list) (sizeof(list) / sizeof *(list))

/* clang-format off */
static const char *const first_names[] = {
    "Maria", "James", "Anna", "Mohammed", "Sofia", "Liam", "Yuki", "Olga", "Pedro", "Fatima",
    "Noah", "Emma", "Chen", "Ingrid", "Paul", "Amara", "Lucas", "Zeynep", "Ivan", "Hannah", "Diego",
    "Priya", "Jonas", "Aisha", "Oliver", "Chloe", "Mateo", "Nadia", "Erik", "Leila", "Tom", "Grace",
    "Andrei", "Mei", "Samuel", "Julia", "Kofi", "Elena", "Arthur", "Rosa", "Daniel", "Freya",
    "Hugo", "Sara", "Tariq", "Alice", "Marek", "Ines" };
static const char *const last_names[] = {
    "Jensen", "Smith", "Garcia", "Nguyen", "Mueller", "Rossi", "Kowalski", "Tanaka", "Silva",
    "Hansen", "Khan", "Martin", "Ivanova", "Okafor", "Lindqvist", "Brown", "Novak", "Schmidt",
    "Lopez", "Yilmaz", "Dubois", "Wang", "Peeters", "Andersen", "Costa", "Murphy", "Popescu",
    "Horvath", "Patel", "Larsen", "Weber", "Moreau", "Kim", "Fischer", "Santos", "Olsen", "Taylor",
    "Haddad", "Nowak", "Bakker", "Evans", "Marino", "Mbeki", "Virtanen" };
static const struct { const char *name, *country; double lat, lon; } cities[] = {
    { "Aarhus", "DK", 56.16, 10.20 }, { "Lyon", "FR", 45.76, 4.84 },
    { "Porto", "PT", 41.15, -8.61 }, { "Krakow", "PL", 50.06, 19.94 },
    { "Ghent", "BE", 51.05, 3.72 }, { "Leipzig", "DE", 51.34, 12.37 },
    { "Bristol", "GB", 51.45, -2.59 }, { "Turin", "IT", 45.07, 7.69 },
    { "Sevilla", "ES", 37.39, -5.98 }, { "Utrecht", "NL", 52.09, 5.12 },
    { "Bergen", "NO", 60.39, 5.32 }, { "Tampere", "FI", 61.50, 23.76 },
    { "Brno", "CZ", 49.20, 16.61 }, { "Graz", "AT", 47.07, 15.44 }, { "Izmir", "TR", 38.42, 27.14 },
    { "Osaka", "JP", 34.69, 135.50 }, { "Austin", "US", 30.27, -97.74 },
    { "Denver", "US", 39.74, -104.99 }, { "Lagos", "NG", 6.52, 3.38 },
    { "Pune", "IN", 18.52, 73.86 }, { "Cork", "IE", 51.90, -8.47 } };
static const char *const streets[] = {
    "Mill Road", "High Street", "Station Road", "Church Lane", "Park Avenue", "Main Street",
    "Queen Street", "Victoria Road", "Garden Street", "River Walk", "Oak Lane", "School Road",
    "Market Square", "King Street", "Bridge Street", "North Road", "West Street", "Hill Road",
    "Forest Way", "Harbour Street" };
static const char *const tags[] = {
    "newsletter", "wholesale", "vip", "late-payer", "student", "staff", "returning", "trial",
    "press", "b2b", "gift-card", "do-not-call", "beta", "marketplace", "import-2021",
    "loyalty-gold", "loyalty-silver" };
static const char *const domains[] = {
    "example.com", "example.org", "example.net", "mail.example", "post.example", "corp.example" };
static const char *const states[] = {
    "new", "paid", "packed", "shipped", "delivered", "returned", "cancelled" };
static const char *const methods[] = {
    "card", "invoice", "transfer", "wallet" };
static const char *const currencies[] = {
    "EUR", "EUR", "EUR", "USD", "GBP", "DKK", "JPY" };
static const char *const syllables[] = {
    "ba", "ker", "lo", "mi", "san", "to", "vel", "ri", "pon", "da", "fi", "gran", "he", "lus",
    "mor", "ne", "qui", "ros", "sta", "tel", "um", "vor", "wen", "xi", "yal", "zo", "ast", "bre",
    "cal", "dor", "eng", "ful" };
/* Ordered by how often they are met. */
static const char *const words[] = {
    "the", "to", "and", "a", "of", "in", "is", "it", "for", "that", "you", "was", "on", "with",
    "we", "my", "have", "this", "be", "not", "are", "at", "but", "as", "your", "from", "or", "they",
    "an", "will", "so", "been", "has", "if", "our", "can", "would", "there", "please", "when",
    "what", "order", "me", "had", "which", "one", "all", "by", "no", "were", "their", "about", "do",
    "out", "up", "after", "time", "could", "how", "only", "now", "any", "back", "just", "also",
    "other", "then", "more", "than", "day", "week", "new", "received", "parcel", "address",
    "account", "two", "again", "first", "still", "because", "delivery", "invoice", "payment",
    "send", "sent", "thanks", "customer", "price", "before", "did", "some", "them", "very", "help",
    "need", "know", "like", "get", "through", "number", "last", "email", "see", "over", "wrong",
    "size", "return", "refund", "same", "three", "today", "since", "page", "where", "made", "here",
    "should", "item", "items", "box", "use", "work", "works", "phone", "card", "days", "month",
    "year", "problem", "both", "without", "already", "another", "something", "change", "changed",
    "ordered", "shop", "store", "site", "find", "found", "water", "small", "large", "black",
    "white", "blue", "green", "red", "wood", "metal", "glass", "cotton", "lamp", "table", "chair",
    "cable", "charger", "battery", "screen", "cover", "shelf", "kitchen", "garden", "window",
    "door", "paper", "pen", "bottle", "jacket", "shoes", "shirt", "camera", "printer", "speaker",
    "keyboard", "wall", "light", "heavy", "broken", "missing", "damaged", "open", "closed", "late",
    "early", "morning", "evening", "monday", "friday", "weekend", "post", "office", "courier",
    "driver", "neighbour", "signature", "tracking", "warehouse", "stock", "available", "discount",
    "code", "offer", "total", "amount", "tax", "bank", "charged", "twice", "confirm",
    "confirmation", "login", "password", "reset", "update", "version", "error", "message",
    "attached", "photo", "picture", "colour", "model", "manual", "instructions", "warranty",
    "replacement", "part", "parts", "screws", "assembly", "quality", "material", "excellent",
    "good", "poor", "happy", "disappointed", "unfortunately", "hello", "regards", "kind", "dear",
    "team", "service", "support", "answer", "question", "waiting", "waited", "hours", "contact",
    "called", "call", "nobody", "someone", "person", "manager", "company", "business", "home",
    "street", "house", "floor", "building", "country", "abroad", "customs", "shipping", "express",
    "standard", "free", "cost", "costs", "cheaper", "expensive", "compare", "different", "exactly",
    "description", "expected", "however", "although", "instead", "soon", "possible", "immediately",
    "cancel", "keep", "exchange" };
/* clang-format on */

struct text {
    char *at, *end;
    struct rng rng;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, (size_t)(t->end - t->at), format, args);
    va_end(args);
    assert(n >= 0 && n < t->end - t->at); /* HEAP_RECORD_MAX is twice the longest */
    t->at += n;
}

static uint64_t below(struct text *t, uint64_t limit)
{
    return rng_below(&t->rng, limit);
}

static unsigned between(struct text *t, unsigned least, unsigned most)
{
    return least + (unsigned)below(t, most - least + 1);
}

#define PICK(t, list) (list)[below(t, NR(list))]

static void add_made_up_word(struct text *t)
{
    for (unsigned n = between(t, 2, 4); n > 0; n--)
        add(t, "%s", PICK(t, syllables));
}

static void add_words(struct text *t, unsigned nr)
{
    const size_t nr_known = NR(words);
    for (unsigned i = 0; i < nr; i++) {
        add(t, "%s", i == 0 ? "" : i % 11 == 10 ? ", " : " ");
        double u = rng_unit(&t->rng);
        if (below(t, 14) == 0)
            add_made_up_word(t);
        else
            add(t, "%s", words[(size_t)((double)nr_known * u * u)]);
    }
}

static void add_time(struct text *t)
{
    add(t, "\"20%02u-", between(t, 21, 24));
    add(t, "%02u-", between(t, 1, 12));
    add(t, "%02uT", between(t, 1, 28));
    add(t, "%02u:", between(t, 0, 23));
    add(t, "%02u:", between(t, 0, 59));
    add(t, "%02uZ\"", between(t, 0, 59));
}

static void add_name(struct text *t)
{
    add(t, "%s ", PICK(t, first_names));
    add(t, "%s", PICK(t, last_names));
}

static void add_address(struct text *t)
{
    size_t city = below(t, NR(cities));
    add(t, ",\"address\":{\"street\":\"%u ", between(t, 1, 240));
    add(t, "%s\",\"city\":\"%s\"", PICK(t, streets), cities[city].name);
    add(t, ",\"postcode\":\"%05u\"", between(t, 1000, 99999));
    add(t, ",\"country\":\"%s\"", cities[city].country);
    add(t, ",\"lat\":%.5f", cities[city].lat + rng_unit(&t->rng) / 10);
    add(t, ",\"lon\":%.5f}", cities[city].lon + rng_unit(&t->rng) / 10);
}

static void add_customer(struct text *t)
{
    const char *first = PICK(t, first_names);
    const char *last = PICK(t, last_names);
    add(t, ",\"type\":\"customer\",\"name\":\"%s %s\"", first, last);
    add(t, ",\"email\":\"%s.%s%u@", first, last, between(t, 1, 9999));
    add(t, "%s\",\"created\":", PICK(t, domains));
    add_time(t);
    add(t, ",\"active\":%s", below(t, 5) ? "true" : "false");
    add(t, ",\"score\":%.6f", rng_unit(&t->rng));
    add(t, ",\"visits\":%u", (unsigned)(2000 * rng_unit(&t->rng) * rng_unit(&t->rng)));
    add(t, ",\"balance\":%.2f", 5000 * rng_unit(&t->rng) - 500);
    add_address(t);
    add(t, ",\"tags\":[");
    for (unsigned i = 0, nr = between(t, 0, 4); i < nr; i++)
        add(t, "%s\"%s\"", i ? "," : "", PICK(t, tags));
    add(t, "],\"note\":\"");
    add_words(t, between(t, 0, 25));
    add(t, "\"");
}

/* Returns what it costs. */
static double add_item(struct text *t)
{
    unsigned quantity = below(t, 4) ? 1 : between(t, 2, 12);
    unsigned half_euros = between(t, 1, 240);
    double price = 0.45 + half_euros / 2.0;
    add(t, "{\"sku\":\"%c", (char)('A' + below(t, 26)));
    add(t, "%c-", (char)('A' + below(t, 26)));
    add(t, "%05u\",\"title\":\"", between(t, 0, 99999));
    add_words(t, between(t, 2, 4));
    add(t, "\",\"quantity\":%u,\"price\":%.2f}", quantity, price);
    return quantity * price;
}

static void add_order(struct text *t)
{
    add(t, ",\"type\":\"order\",\"customer\":%u", between(t, 1, 300000));
    add(t, ",\"status\":\"%s\",\"placed\":", PICK(t, states));
    add_time(t);
    add(t, ",\"items\":[");
    double total = 0;
    for (unsigned i = 0, nr = between(t, 1, 5); i < nr; i++) {
        add(t, "%s", i ? "," : "");
        total += add_item(t);
    }
    add(t, "],\"currency\":\"%s\",\"total\":%.2f", PICK(t, currencies), total);
    add(t, ",\"payment\":{\"method\":\"%s\"", PICK(t, methods));
    add(t, ",\"last4\":\"%04u\"", between(t, 0, 9999));
    add(t, ",\"reference\":\"%016llx\"}", (unsigned long long)rng_next(&t->rng));
    add(t, ",\"gift\":%s", below(t, 9) ? "false" : "true");
}

static void add_message(struct text *t)
{
    add(t, "{\"from\":\"");
    add_name(t);
    add(t, "\",\"at\":");
    add_time(t);
    add(t, ",\"text\":\"");
    add_words(t, between(t, 8, 60));
    add(t, ".\"}");
}

static void add_ticket(struct text *t)
{
    add(t, ",\"type\":\"ticket\",\"opened\":");
    add_time(t);
    add(t, ",\"closed\":");
    if (below(t, 3))
        add_time(t);
    else
        add(t, "null");
    add(t, ",\"priority\":%u,\"assignee\":\"", between(t, 1, 5));
    add_name(t);
    add(t, "\",\"subject\":\"");
    add_words(t, between(t, 3, 8));
    add(t, "\",\"messages\":[");
    for (unsigned i = 0, nr = between(t, 1, 3); i < nr; i++) {
        add(t, "%s", i ? "," : "");
        add_message(t);
    }
    add(t, "],\"read\":%s", below(t, 2) ? "true" : "false");
}

void heap_record_id(uint64_t seed, uint64_t index, char ret_id[HEAP_RECORD_ID_BYTES])
{
    struct rng rng = rng_new(seed, ~index);
    uint64_t high = rng_next(&rng), low = rng_next(&rng);
    (void)snprintf(ret_id, HEAP_RECORD_ID_BYTES, "%08x-%04x-4%03x-%04x-%012llx",
                   (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
                   (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0x3fff) | 0x8000u,
                   (unsigned long long)(low & 0xffffffffffff));
}

size_t heap_record_write(uint64_t seed, uint64_t index, unsigned version,
                         char ret_json[HEAP_RECORD_MAX])
{
    char id[HEAP_RECORD_ID_BYTES];
    heap_record_id(seed, index, id);
    struct text t = { .at = ret_json, .end = ret_json + HEAP_RECORD_MAX };
    t.rng = rng_new(seed + version, index);
    add(&t, "{\"id\":\"%s\",\"version\":%u", id, version + 1);
    uint64_t kind = rng_mix(seed ^ index) % 20;
    if (kind < 8)
        add_customer(&t);
    else if (kind < 15)
        add_order(&t);
    else
        add_ticket(&t);
    add(&t, "}");
    return (size_t)(t.at - ret_json);
}
