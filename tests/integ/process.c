/* process.c - see process.h. */
#include "process.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

unsigned process_descriptors_at_rest(pid_t pid)
{
    unsigned least = process_entries(pid, "fd");
    for (int i = 0; i < 100; i++) {
        (void)usleep(2000);
        unsigned nr = process_entries(pid, "fd");
        least = nr < least ? nr : least;
    }
    return least;
}

/* What stands behind a field's colon, "" if there is none. */
static void read_status(pid_t pid, const char *field, char *ret_text, int capacity)
{
    char path[64];
    size_t length = strlen(field);
    bool is_found = false;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && !is_found && fgets(ret_text, capacity, f))
        is_found = !strncmp(ret_text, field, length) && ret_text[length] == ':';
    if (f)
        (void)fclose(f);
    if (is_found)
        memmove(ret_text, ret_text + length + 1, strlen(ret_text + length + 1) + 1);
    else
        *ret_text = 0;
}

unsigned long long process_status_number(pid_t pid, const char *field, int base)
{
    char text[256];
    read_status(pid, field, text, sizeof text);
    return strtoull(text, NULL, base);
}

/* A zombie has closed its files (exit_files and the work queued by it come before exit_notify). */
bool process_has_ended(pid_t pid)
{
    char text[256];
    read_status(pid, "State", text, sizeof text);
    return !*text || strchr(text, 'Z') || strchr(text, 'X');
}

static bool is_each_thread_stopped(pid_t pid)
{
    char folder[64], text[256];
    bool are_all = true;
    (void)snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && are_all && (e = readdir(d));) {
        if (*e->d_name == '.')
            continue;
        read_status((pid_t)atoi(e->d_name), "State", text, sizeof text); /* threads have a place in /proc as well */
        are_all = strchr(text, 'T') != NULL;
    }
    if (d)
        closedir(d);
    return d && are_all;
}

bool process_stop(pid_t pid)
{
    if (kill(pid, SIGSTOP))
        return false;
    for (int ms = 0; ms < 5000; ms++) {
        if (is_each_thread_stopped(pid))
            return true;
        (void)usleep(1000);
    }
    return false;
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
