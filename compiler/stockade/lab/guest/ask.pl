#!/usr/bin/perl
# First and only program of a guest that is asked about a policy: loads it, answers every question, powers off.
# The kernel computes its answers whether or not it enforces, so it is left as it boots and this program may ask.
sub fail { die "ask: $_[0]: $!\n" }

sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or fail("open $path");
    binmode $file;
    local $/;
    my $bytes = <$file>;
    close $file;
    return $bytes;
}

sub mount_on {
    my ($type, $target) = @_;
    syscall(165, $type, $target, $type, 0, 0) == 0 or fail("mount $type");
}

my ($selinux, %number, %bit) = ('/sys/fs/selinux');

# What the loaded policy calls a class and a permission, as the kernel itself tells it.
sub numbers {
    my ($class, $permission) = @_;
    $number{$class} //= slurp("$selinux/class/$class/index") + 0;
    $bit{"$class $permission"} //= 1 << (slurp("$selinux/class/$class/perms/$permission") - 1);
    return ($number{$class}, $bit{"$class $permission"});
}

mount_on('proc', '/proc');
mount_on('sysfs', '/sys');
mount_on('devtmpfs', '/dev');
open(my $channel, '>', '/dev/tty1') or fail('open /dev/tty1');
# Nobody may be left out there to stop a guest that hangs.
defined(my $watch = fork) or fail('fork');
if (!$watch) {
    sleep $ENV{lab_seconds};
    syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0);
}
mount_on('selinuxfs', $selinux);
my $policy = slurp('/policy');
open(my $load, '>', "$selinux/load") or fail('open load');
my $written = syswrite($load, $policy);
defined $written && $written == length $policy or fail('load policy');
close $load;
my $release = slurp('/proc/sys/kernel/osrelease');
syswrite($channel, "stockade-ask 1\npolicy $written\nkernel $release");

my ($answers, $first, $count) = ('', 0, 0);
for my $question (split /\n/, slurp('/plan')) {
    my ($source, $target, $class, $permission) = split /\t/, $question, -1;
    my ($index, $wanted) = numbers($class, $permission);
    open(my $access, '+<', "$selinux/access") or fail('open access');
    defined syswrite($access, "$source $target $index") or fail("question $count: $question");
    sysread($access, my $answer, 256) or fail("answer $count");
    close $access;
    my ($allowed) = $answer =~ /\A([0-9a-f]+) [0-9a-f]+ [0-9a-f]+ [0-9a-f]+ \d+ [0-9a-f]+\z/ or fail("answer $answer");
    $answers .= hex($allowed) & $wanted ? 1 : 0;
    $count++;
    if (length $answers == 100) {
        syswrite($channel, "answers $first $answers\n");
        ($answers, $first) = ('', $count);
    }
}
syswrite($channel, "answers $first $answers\n") if length $answers;
syswrite($channel, "end $count\n");
select(undef, undef, undef, 0.05);
syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0);
fail('power off');
