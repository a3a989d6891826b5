/* heap_records.h - records as a shop's back end would keep them, as JSON, for programs to build
 * heaps of. Everything follows from (seed, index, version). Of 20 records 8 are customers (address,
 * tags, a note), 7 orders (one to five items, payment), 5 support tickets (one to three messages):
 * 305 to 1523 bytes each, 544 on average. Ids are random UUIDs, references random hex digits,
 * numbers have their usual ranges, dates lie in four years. Text is words from a list of 300, the
 * first ones most often, as in real text, and among them, one in fourteen, a word made of syllables
 * that is likely not met again. Pure functions. */
#ifndef BENCH_HEAP_RECORDS_H
#define BENCH_HEAP_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#define HEAP_RECORD_MAX 8192u
#define HEAP_RECORD_ID_BYTES 37u

/* The record's id; the same in all versions. */
void heap_record_id(uint64_t seed, uint64_t index, char ret_id[HEAP_RECORD_ID_BYTES]);
/* Writes the record as one line of JSON, without its end. Returns its length. */
size_t heap_record_write(uint64_t seed, uint64_t index, unsigned version,
                         char ret_json[HEAP_RECORD_MAX]);

#endif
