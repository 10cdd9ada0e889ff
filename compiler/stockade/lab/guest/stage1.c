/* First program of the guest host, in its initramfs: opens dm-verity as the kernel's command line says, and enters it. */
#include "verity.h"
#include <dirent.h>

static int by_name(const struct dirent **one, const struct dirent **two)
{
    return strcmp((*one)->d_name, (*two)->d_name);
}

static void insert_modules(void)
{
    struct dirent **entries;
    int count = scandir("/modules", &entries, NULL, by_name);
    if (count < 0)
        fail("open /modules");
    for (int number = 0; number < count; number++) {
        char path[512];
        if (entries[number]->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/modules/%s", entries[number]->d_name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || syscall(SYS_finit_module, file, "", 0))
            fail("insert %s", path);
        close(file);
    }
}

/* The kernel's own syntax, dm-mod.create="NAME,,,ro,0 SECTORS verity PARAMETERS": here device-mapper is a module, and so
 * the kernel itself comes too early to read it. */
static void open_root(void)
{
    static const char key[] = "dm-mod.create=\"";
    char *line = must_slurp("/proc/cmdline").data;
    char *table = strstr(line, key);
    char *end = table ? strchr(table + sizeof key - 1, '"') : NULL;
    char name[64];
    unsigned long long sectors;
    int length = 0;
    if (!end)
        fail("no dm-mod.create on the kernel's command line");
    *end = 0;
    table += sizeof key - 1;
    if (sscanf(table, "%63[a-z],,,ro,0 %llu verity %n", name, &sectors, &length) != 2 || !length)
        fail("not a read-only verity table: %s", table);
    open_verity(name, sectors, table + length);
}

int main(void)
{
    must_mount("proc", "/proc", "proc", 0, NULL);
    must_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    watch();
    insert_modules();
    open_root();
    must_mount("/dev/dm-0", "/sysroot", "erofs", MS_RDONLY, NULL);
    must_mount("/dev", "/sysroot/dev", NULL, MS_MOVE, NULL);
    must_mount("/proc", "/sysroot/proc", NULL, MS_MOVE, NULL);
    if (chdir("/sysroot"))
        fail("chdir /sysroot");
    must_mount(".", "/", NULL, MS_MOVE, NULL);
    if (chroot(".") || chdir("/"))
        fail("chroot");
    reopen_console();
    execl("/usr/lib/systemd/systemd", "init", "load", NULL);
    fail("exec init");
}
