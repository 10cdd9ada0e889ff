/* dm-verity by the kernel's own ioctl: no udev, no tools on the image. */
#ifndef STOCKADE_LAB_VERITY_H
#define STOCKADE_LAB_VERITY_H

#include "common.h"
#include <linux/dm-ioctl.h>

#define DM_ROOM 16384

static inline struct dm_ioctl *dm_request(void *room, const char *name)
{
    struct dm_ioctl *request = room;
    memset(room, 0, DM_ROOM);
    request->version[0] = DM_VERSION_MAJOR;
    request->data_size = DM_ROOM;
    request->data_start = sizeof *request;
    snprintf(request->name, sizeof request->name, "%s", name);
    return request;
}

/* Makes /dev/dm-0 from `sectors` and the verity target's own `parameters`; read-only. */
static inline void open_verity(const char *name, unsigned long long sectors, const char *parameters)
{
    static char room[DM_ROOM] __attribute__((aligned(8)));
    int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        fail("open /dev/mapper/control");
    struct dm_ioctl *request = dm_request(room, name);
    if (ioctl(control, DM_DEV_CREATE, request))
        fail("create the device %s", name);
    request = dm_request(room, name);
    request->target_count = 1;
    request->flags = DM_READONLY_FLAG;
    struct dm_target_spec *target = (void *)(room + sizeof *request);
    target->length = sectors;
    snprintf(target->target_type, sizeof target->target_type, "verity");
    int length = snprintf((char *)(target + 1), DM_ROOM - sizeof *request - sizeof *target, "%s", parameters);
    if (length < 0 || (size_t)length >= DM_ROOM - sizeof *request - sizeof *target)
        fail("a verity table of %d bytes", length);
    if (ioctl(control, DM_TABLE_LOAD, request))
        fail("load the verity table %s", parameters);
    request = dm_request(room, name);
    if (ioctl(control, DM_DEV_SUSPEND, request))
        fail("start %s", name);
    close(control);
}

/* The live table of `name` as the kernel tells it, or an empty text with errno. */
static inline const char *verity_table(const char *name)
{
    static char room[DM_ROOM] __attribute__((aligned(8)));
    static char line[DM_ROOM];
    int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return "";
    struct dm_ioctl *request = dm_request(room, name);
    request->flags = DM_STATUS_TABLE_FLAG;
    int failed = ioctl(control, DM_TABLE_STATUS, request);
    close(control);
    if (failed || request->target_count != 1)
        return "";
    struct dm_target_spec *target = (void *)(room + request->data_start);
    snprintf(line, sizeof line, "%llu %llu %s %s", (unsigned long long)target->sector_start,
             (unsigned long long)target->length, target->target_type, (char *)(target + 1));
    return line;
}

#endif
