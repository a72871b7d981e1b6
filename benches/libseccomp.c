/* A filter of the same policy by libseccomp, which Belljar has nothing of: a peer of the bench alone.
 *
 *   libseccomp RULES HOW FILE    writes the program to FILE; HOW is `linear` or `tree`
 *
 * RULES: a line `default ACTION FOREIGN`, then one for each rule: ACTION NUMBER, and for each condition
 * ARGUMENT `=` MASK VALUE, or ARGUMENT `!` 0 VALUE. Actions are those of seccomp(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fails(const char *what, int error) {
    fprintf(stderr, "libseccomp: %s: %s\n", what, strerror(-error));
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    FILE *rules = fopen(argv[1], "re");
    if (!rules) return fails(argv[1], -errno);
    unsigned action, foreign;
    if (fscanf(rules, "default %u %u\n", &action, &foreign) != 2) return 2;
    scmp_filter_ctx filter = seccomp_init(action);
    if (!filter) return fails("seccomp_init", -EINVAL);
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, foreign);
    if (!result && !strcmp(argv[2], "tree")) result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result) return fails("seccomp_attr_set", result);
    char line[4096];
    while (fgets(line, sizeof line, rules)) {
        struct scmp_arg_cmp conditions[6];
        unsigned count = 0, argument;
        int number, end;
        char kind;
        unsigned long long mask, value;
        const char *rest = line;
        if (sscanf(rest, "%u %d%n", &action, &number, &end) != 2) return 2;
        for (rest += end; count < 6 && sscanf(rest, " %u %c %llu %llu%n", &argument, &kind, &mask, &value, &end) == 4;
             rest += end)
            conditions[count++] = kind == '='
                ? SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value)
                : SCMP_CMP(argument, SCMP_CMP_NE, value);
        result = seccomp_rule_add_exact_array(filter, action, number, count, conditions);
        if (result) return fails(line, result);
    }
    int out = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    result = out < 0 ? -errno : seccomp_export_bpf(filter, out);
    return result ? fails(argv[3], result) : 0;
}
