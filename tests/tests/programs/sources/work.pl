# What ordinary Perl programs do. Each part prints one line that a test reads.
use strict;
use warnings;
$| = 1;

my $child = fork() // die "fork: $!";
exit 7 if $child == 0;
waitpid $child, 0;
print "fork: ", $? >> 8, "\n";
open(my $in, '-|', 'sort', '-r', '/etc/passwd') or die "open: $!";
my @lines = <$in>;
close $in;
print "open pipe: ", scalar(@lines) > 0 ? "read" : "empty", "\n";
open(my $out, '|-', 'tr a-z A-Z') or die "open: $!";
print $out "to a child\n";
close $out;
print "backticks: ", `echo from a shell`;
pipe(my $read, my $write) or die "pipe: $!";
$child = open(my $other, '-|') // die "fork: $!";
if (!$child) { print "implicit"; exit 0 }
print "implicit fork: ", <$other>, "\n";
local $SIG{USR1} = sub { die "caught\n" };
eval { kill USR1 => $$; sleep 60 };
print "signal: $@";
open(my $file, '+>', undef) or die "temporary file: $!";
print $file "text";
seek $file, 0, 0;
print "temporary file: ", <$file>, "\n";
