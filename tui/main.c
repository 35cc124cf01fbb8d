#include <stdio.h>

int main(void)
{
    puts("kedge " KG_VERSION);
    return 0;
}
