/* A stand-in for libnvidia-ml.so.1 that drives the real nvidia-ml-py without a GPU. Scripted by the environment:

   STANDIN_CLOCK        file with the time in ns, as decimal digits; without it, CLOCK_MONOTONIC
   STANDIN_GPUS         number of GPUs (1); GPU i has the UUID GPU-<i>0000000-..., and buses fall as i rises
   STANDIN_NAMES        names, separated by commas ("Stand-in" for all)
   STANDIN_POWER_MW     power of GPU 0 in mW (250000); GPU i draws (i + 1) times as much
   STANDIN_STEP_MS      period of the energy counter's steps (100); 0: the counter stands still
   STANDIN_RESET_AT_S   time at which the energy counter starts again from 0
   STANDIN_LOST_AT_S    time from which every question is answered by GPU_IS_LOST
   STANDIN_UNSUPPORTED  questions answered by NOT_SUPPORTED: energy power clock temperature utilization reasons mig memory
   STANDIN_MIG          1: MIG is switched on
   STANDIN_REASONS      clock event reasons as a number
   STANDIN_PIDS         compute processes: pid:bytes, separated by commas; "pid:na" hides the bytes
   STANDIN_NO_DRIVER    1: nvmlInit fails

   Compiled with -DOLD_DRIVER it lacks the functions that older drivers lack. Sources: nvml.h; pynvml.py, which says
   under which name each function is looked up. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_SIZE = 7, NO_DRIVER = 9, LOST = 15 };
enum { MAX_GPUS = 8 };

typedef struct { unsigned index; } Device;
typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } Process;
typedef struct { char legacy_bus[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;

static Device devices[MAX_GPUS];
static int started = 0;

static const char *text(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static double number(const char *name, double otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtod(value, NULL) : otherwise;
}

static double now_s(void) {
    const char *path = getenv("STANDIN_CLOCK");
    struct timespec now;
    if (path) {
        double ns = 0;
        FILE *file = fopen(path, "r");
        if (file) {
            if (fscanf(file, "%lf", &ns) != 1) ns = 0;
            fclose(file);
        }
        return ns * 1e-9;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int refused(const char *question) {
    if (now_s() >= number("STANDIN_LOST_AT_S", 1e300)) return LOST;
    return strstr(text("STANDIN_UNSUPPORTED", ""), question) ? NOT_SUPPORTED : SUCCESS;
}

static double power_mw(const Device *device) { return (device->index + 1) * number("STANDIN_POWER_MW", 250000); }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (number("STANDIN_NO_DRIVER", 0)) return NO_DRIVER;
    started++;
    for (unsigned i = 0; i < MAX_GPUS; i++) devices[i].index = i;
    return SUCCESS;
}

int nvmlShutdown(void) { return started-- > 0 ? SUCCESS : 1; }

const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "stand-in error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (started <= 0) return 1;
    *count = (unsigned)number("STANDIN_GPUS", 1);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if (index >= (unsigned)number("STANDIN_GPUS", 1)) return INVALID;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *name, unsigned length) {
    char names[256];
    snprintf(names, sizeof names, "%s", text("STANDIN_NAMES", "Stand-in"));
    char *word = strtok(names, ","), *last = word;
    for (unsigned i = 0; word && i < device->index; i++)
        if ((word = strtok(NULL, ","))) last = word;
    snprintf(name, length, "%s", last);
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%u0000000-0000-0000-0000-000000000000", device->index);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(Device *device, Pci *pci) {
    memset(pci, 0, sizeof *pci);
    pci->bus = 0x80 - device->index;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *energy_mj) {
    int code = refused("energy");
    double now = now_s(), reset = number("STANDIN_RESET_AT_S", 1e300), step = number("STANDIN_STEP_MS", 100) * 1e-3;
    double since = now < reset ? 1000 + now : now - reset;
    *energy_mj = (unsigned long long)(power_mw(device) * (step > 0 ? step * (double)(long long)(since / step + 1e-9) : 1));
    return code;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    *milliwatts = (unsigned)power_mw(device);
    return refused("power");
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    (void)device;
    *current = *pending = (unsigned)number("STANDIN_MIG", 0);
    return refused("mig");
}

int nvmlDeviceGetMemoryInfo(Device *device, unsigned long long *total_free_used) {
    total_free_used[0] = 80ull << 30;
    total_free_used[2] = (device->index + 1) * (3ull << 30);
    total_free_used[1] = total_free_used[0] - total_free_used[2];
    return refused("memory");
}

int nvmlDeviceGetClockInfo(Device *device, unsigned type, unsigned *clock_mhz) {
    (void)device;
    *clock_mhz = type == 1 ? 1410 : 1593; /* 1 is NVML_CLOCK_SM, 2 NVML_CLOCK_MEM */
    return type == 1 || type == 2 ? refused("clock") : INVALID;
}

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *celsius) {
    (void)device;
    *celsius = 61;
    return sensor ? INVALID : refused("temperature");
}

int nvmlDeviceGetUtilizationRates(Device *device, unsigned *gpu_memory) {
    (void)device;
    gpu_memory[0] = 87;
    gpu_memory[1] = 40;
    return refused("utilization");
}

static int processes(unsigned *count, Process *found) {
    char list[256];
    unsigned n = 0, room = *count;
    snprintf(list, sizeof list, "%s", text("STANDIN_PIDS", ""));
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        char *colon = strchr(word, ':');
        if (found && n < room) {
            found[n].pid = (unsigned)strtoul(word, NULL, 10);
            found[n].bytes = strcmp(colon, ":na") ? strtoull(colon + 1, NULL, 10) : (unsigned long long)-1;
            found[n].gpu_instance = found[n].compute_instance = (unsigned)-1;
        }
        n++;
    }
    *count = n;
    return n > room ? NO_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, Process *found) {
    (void)device;
    return processes(count, found);
}

#ifdef OLD_DRIVER

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *reasons) {
    (void)device;
    *reasons = (unsigned long long)number("STANDIN_REASONS", 0);
    return refused("reasons");
}

#else

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *reasons) {
    (void)device;
    *reasons = (unsigned long long)number("STANDIN_REASONS", 0);
    return refused("reasons");
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *found) {
    (void)device;
    return processes(count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, Process *found) {
    (void)device;
    (void)found;
    *count = 0;
    return SUCCESS;
}

int nvmlDeviceGetTemperatureV(Device *device, int *version_sensor_celsius) {
    (void)device;
    if (version_sensor_celsius[0] != 0x100000C) return 25;
    version_sensor_celsius[2] = 62;
    return version_sensor_celsius[1] ? INVALID : refused("temperature");
}

#endif
