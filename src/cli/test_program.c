/* What `run` can preload its library into is told apart by looking at the file. Method: files made here, and
 * two programs of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/program.h"

static char folder[] = "/tmp/pp-program-XXXXXX";

static const char *file(const char *name, const void *bytes, size_t nr, mode_t mode)
{
    static char paths[4][64];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, nr, f), nr);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

struct elf {
    Elf64_Ehdr h;
    Elf64_Phdr p[2];
    char loader[28];
};

static struct elf elf_of(uint32_t type)
{
    struct elf e = { .h = { .e_machine = EM_X86_64, .e_phoff = sizeof(Elf64_Ehdr), .e_phnum = 2 },
                     .p = { { .p_type = PT_LOAD },
                            { .p_type = type, .p_offset = offsetof(struct elf, loader), .p_filesz = 28 } },
                     .loader = "/lib64/ld-linux-x86-64.so.2" };
    memcpy(e.h.e_ident, ELFMAG, SELFMAG);
    e.h.e_ident[EI_CLASS] = ELFCLASS64;
    return e;
}

static void programs_are_told_apart(void **state)
{
    (void)state;
    struct elf with = elf_of(PT_INTERP), without = elf_of(PT_NOTE), small = elf_of(PT_INTERP);
    small.h.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(program_kind_of(file("dynamic", &with, sizeof with, 0755)), PROGRAM_DYNAMIC);
    assert_int_equal(program_kind_of(file("static", &without, sizeof without, 0755)), PROGRAM_STATIC);
    assert_int_equal(program_kind_of(file("32", &small, sizeof small, 0755)), PROGRAM_FOREIGN);
    assert_int_equal(program_kind_of(file("cut", &with, 20, 0755)), PROGRAM_FOREIGN);
    struct elf musl = with;
    memcpy(musl.loader, "/lib/ld-musl-x86_64.so.1\0\0\0", 28);
    assert_int_equal(program_kind_of(file("musl", &musl, sizeof musl, 0755)), PROGRAM_OTHER_LIBC);
    assert_int_equal(program_kind_of(file("cut2", &with, offsetof(struct elf, loader), 0755)), PROGRAM_DYNAMIC);
    with.h.e_phoff = (Elf64_Off)-8;
    assert_int_equal(program_kind_of(file("far", &with, sizeof with, 0755)), PROGRAM_DYNAMIC);
    assert_int_equal(program_kind_of(file("empty", "", 0, 0755)), PROGRAM_DYNAMIC);
    assert_int_equal(program_kind_of("/nowhere/at/all"), PROGRAM_UNREADABLE);
    assert_null(program_obstacle(PROGRAM_DYNAMIC));
    assert_non_null(program_obstacle(PROGRAM_STATIC));
}

static void scripts_count_as_their_interpreter(void **state)
{
    (void)state;
    struct elf without = elf_of(PT_NOTE);
    const char *interpreter = file("shell", &without, sizeof without, 0755);
    char text[200];
    int n = snprintf(text, sizeof text, "#! %s -x\necho\n", interpreter);
    const char *script = file("script", text, (size_t)n, 0755);
    assert_int_equal(program_kind_of(script), PROGRAM_STATIC);
    n = snprintf(text, sizeof text, "#!%s\n", script);
    assert_int_equal(program_kind_of(file("script2", text, (size_t)n, 0755)), PROGRAM_STATIC);
    n = snprintf(text, sizeof text, "#!%s/loop\n", folder);
    assert_int_equal(program_kind_of(file("loop", text, (size_t)n, 0755)), PROGRAM_DYNAMIC);
    assert_int_equal(program_kind_of(file("plain", "echo\n", 5, 0755)), PROGRAM_DYNAMIC);
    assert_int_equal(program_kind_of(file("bang", "#!\n", 3, 0755)), PROGRAM_DYNAMIC);
}

static void other_peoples_rights_are_seen(void **state)
{
    (void)state;
    struct elf with = elf_of(PT_INTERP);
    const char *path = file("setuid", &with, sizeof with, 04755);
    assert_int_equal(program_kind_of(path), PROGRAM_DYNAMIC); /* our own: nothing is gained */
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(chmod(path, 04755), 0);
    assert_int_equal(program_kind_of(path), PROGRAM_PRIVILEGED);
}

static void commands_are_found_as_execvp_does(void **state)
{
    (void)state;
    char path[200], twice[200];
    const char *yes = file("pp-yes", "", 0, 0755);
    assert_int_equal(program_find(yes, path, sizeof path), 0);
    assert_string_equal(path, yes);
    (void)file("pp-no", "", 0, 0644);
    (void)snprintf(twice, sizeof twice, "/nowhere:%s", folder);
    assert_int_equal(setenv("PATH", twice, 1), 0);
    assert_int_equal(program_find("pp-yes", path, sizeof path), 0);
    assert_string_equal(path, yes);
    assert_int_equal(program_find("pp-none", path, sizeof path), -ENOENT);
    assert_int_equal(program_find("pp-no", path, sizeof path), -EACCES);
    assert_int_equal(program_find(folder, path, sizeof path), -EACCES);
    assert_int_equal(program_find("", path, sizeof path), -ENOENT);
    assert_int_equal(program_find("/nowhere/pp-yes", path, sizeof path), -ENOENT);
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    char command[100];
    (void)snprintf(command, sizeof command, "PATH=/bin:/usr/bin rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_are_told_apart),
        cmocka_unit_test(scripts_count_as_their_interpreter),
        cmocka_unit_test(other_peoples_rights_are_seen),
        cmocka_unit_test(commands_are_found_as_execvp_does),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
