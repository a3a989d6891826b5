/* run_static - a program without a loader, for run_messages. */
int main(void)
{
    return 42;
}
