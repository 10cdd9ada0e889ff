#!/usr/bin/perl
# PID 1 of the guest: says what it is, runs the launcher, powers off. Its file's label makes it init_t.
sub fail { die "init: $_[0]: $!\n" }

sub line_of {
    my ($path) = @_;
    open(my $file, '<', $path) or fail("open $path");
    my $line = <$file>;
    close $file;
    $line =~ s/[\0\n]+\z//;
    return $line;
}

open(my $channel, '>', '/dev/tty1') or fail('open /dev/tty1');
syswrite($channel, 'kernel ' . line_of('/proc/sys/kernel/osrelease') . "\n");
syswrite($channel, 'enforcing ' . line_of('/sys/fs/selinux/enforce') . "\n");
syswrite($channel, 'init ' . line_of('/proc/self/attr/current') . "\n");

defined(my $pid = fork) or fail('fork');
if (!$pid) {
    exec { '/usr/bin/runc' } 'runc' or fail('exec launcher');
}
waitpid($pid, 0);
syswrite($channel, "launcher $?\n");
syswrite($channel, 'enforcing ' . line_of('/sys/fs/selinux/enforce') . "\n");
select(undef, undef, undef, 0.05);    # the kernel prints denials from a thread of its own
syswrite($channel, "end\n");
select(undef, undef, undef, 0.05);
syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0);
fail('power off');
