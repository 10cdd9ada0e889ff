#!/usr/bin/perl
# Runs the plan's probes, one entered context after another. Stands where the container runtime does, so it is runtime_t.
sub fail { die "launch: $_[0]: $!\n" }

sub context {
    open(my $self, '<', '/proc/self/attr/current') or fail('context');
    my $context = <$self>;
    close $self;
    $context =~ s/[\0\n]+\z//;
    return $context;
}

open(my $channel, '>', '/dev/tty1') or fail('open /dev/tty1');
open(my $plan, '<', '/run/plan') or fail('open plan');
my @probes = <$plan>;
close $plan;
chomp @probes;
syswrite($channel, 'runtime ' . context() . "\n");
# PR_SET_CHILD_SUBREAPER: probes outlive the process that forked them, and their status comes here, past any policy.
syscall(157, 36, 1, 0, 0, 0) == 0 or fail('prctl');

my $number = 0;
while ($number < @probes) {
    my ($wanted, $entry) = split /\t/, $probes[$number], -1;
    my @operations;
    my $until = $number;
    while ($until < @probes) {
        my ($context, $program, @operation) = split /\t/, $probes[$until], -1;
        last if $context ne $wanted or $program ne $entry;
        push @operations, @operation;
        $until++;
    }
    pipe(my $failed, my $failure) or fail('pipe');
    defined(my $pid = fork) or fail('fork');
    if (!$pid) {
        close $failed;
        my $next;
        # attr/exec is this process's own: the label the kernel gives the next program, if the policy lets it.
        open($next, '>', '/proc/self/attr/exec')
            and defined syswrite($next, "$wanted\0")
            and close $next
            and exec { $entry } $entry, $wanted, @operations;
        syswrite($failure, $! + 0);
        syscall(60, 1);
    }
    close $failure;
    my $errno = <$failed>;
    close $failed;
    my $before = 0;
    while ((my $ended = wait) > 0) {
        my $status = $?;
        # Each is forked by the one before it and waits for its end: any other order, or one more, is no answer at all.
        $ended > $before && $number < $until or fail("process $ended ended out of turn");
        $before = $ended;
        my $ending = defined $errno ? "exec $errno" : $status & 127 ? 'signal ' . ($status & 127) : 'exit ' . ($status >> 8);
        syswrite($channel, "probe $number $ended $ending\n");
        $number++;
    }
    syswrite($channel, 'probe ' . $number++ . (defined $errno ? " $pid exec $errno\n" : " 0 lost 0\n")) while $number < $until;
}
