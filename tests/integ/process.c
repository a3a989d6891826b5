/* process.c - see process.h. */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned folder_entries(const char *path)
{
    unsigned nr = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        nr++;
    if (d)
        closedir(d);
    return nr;
}

unsigned process_entries(pid_t pid, const char *folder)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, folder);
    return folder_entries(path);
}

unsigned long long process_status_number(pid_t pid, const char *field, int base)
{
    char path[64], line[256];
    size_t length = strlen(field);
    unsigned long long number = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, field, length) && line[length] == ':') {
            number = strtoull(line + length + 1, NULL, base);
            break;
        }
    if (f)
        (void)fclose(f);
    return number;
}

static void read_name(const char *folder, const char *thread, char *ret_name, size_t capacity)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%.16s/comm", folder, thread);
    FILE *f = fopen(path, "re");
    if (!f || !fgets(ret_name, (int)capacity, f))
        *ret_name = 0;
    if (f)
        (void)fclose(f);
    ret_name[strcspn(ret_name, "\n")] = 0;
}

static unsigned find_threads(pid_t pid, const char *name, pid_t *ret_first)
{
    char folder[64], found[32];
    unsigned nr = 0;
    (void)snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        read_name(folder, e->d_name, found, sizeof found);
        if (!strcmp(found, name) && !nr++)
            *ret_first = (pid_t)atoi(e->d_name);
    }
    if (d)
        closedir(d);
    return nr;
}

pid_t process_thread(pid_t pid, const char *name)
{
    pid_t first = 0;
    (void)find_threads(pid, name, &first);
    return first;
}

unsigned process_nr_threads(pid_t pid, const char *name)
{
    pid_t first;
    return find_threads(pid, name, &first);
}
